"""One turn of the scripted agent, decided (pure): (state, what the caller did) -> (next state, what to say and do).

    greeting -> need -> name -> phone -> time -> (steps of the owner's) -> summary -> goodbye

In every turn, in this order: keys that were pressed; wishes that may come at any time (again, wait, a person, no
recording); what can be learned from the words, asked for or not; leaving; questions; the answer to the step's own
question. Nothing here waits, reads a clock or keeps anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from moked.channels import optout, wishes
from moked.crm.phone import national, to_e164
from moked.dialog import (
    Action,
    Ask,
    CallContext,
    CallerTurn,
    EndCall,
    Entry,
    Expect,
    Say,
    Speaker,
    Transfer,
    disagreement,
    slots,
)
from moked.dialog.business import Business, Service
from moked.dialog.corrections import placed
from moked.dialog.details import NOTHING, RULES, Detail, Rules, expected
from moked.dialog.intake_state import (
    ASKED_FOR_PERSON,
    DO_NOT_RECORD,
    NAME,
    NEED,
    NO,
    NOTE,
    PHONE,
    QUESTION,
    TIME,
    UNCONFIRMED,
    YES,
    Known,
    State,
)
from moked.dialog.scriptfile import Line, Script, Slot, Step
from moked.dialog.second_hearing import SLOTS, disputed
from moked.dialog.words import find, phrases, words
from moked.records import Handover

Decided = tuple[State, tuple[Action, ...]]

_EXPECT: Final = {
    Slot.NEED: Expect.OPEN,
    Slot.NAME: Expect.NAME,
    Slot.PHONE: Expect.PHONE,
    Slot.TIME: Expect.TIME,
    Slot.TEXT: Expect.OPEN,
    Slot.CHOICE: Expect.YES_NO,
    Slot.ID: Expect.ID,
    Slot.ADDRESS: Expect.ADDRESS,
    Slot.PLATE: Expect.PLATE,
    Slot.DATE: Expect.DATE,
    Slot.NUMBER: Expect.NUMBER,
    Slot.SUMMARY: Expect.YES_NO,
}
_THIS_NUMBER: Final = phrases(
    "למספר הזה|המספר הזה|לאותו מספר|מהמספר הזה|שממנו התקשרתי|שממנו אני מתקשר|שממנו אני מתקשרת|שאני מתקשר ממנו|לפה|לכאן"
)
_WHY: Final = phrases("למה|בשביל מה|לשם מה")
_ASSENT: Final = frozenset({"כן", "נכון", "בטח", "אוקיי", "אוקי"})
_DIGITS: Final = frozenset({Expect.PHONE, Expect.ID, Expect.PLATE, Expect.NUMBER})
_CERTAIN: Final = 0.95
_MANY_WORDS: Final = 4
_ENOUGH: Final = 2  # times to ask for the missing part of an address
_LONGEST_NOTE: Final = 500

HANDED_BACK: Final = {
    Handover.UNANSWERED: "לא הצלחתי להשיג נציג כרגע, אבל אפשר להשאיר לי את הפרטים ויחזרו אליכם.",
    Handover.SENT_BACK: "דיברתי עם הצוות. הם יטפלו בזה ויחזרו אליכם.",
    Handover.TAKEN: "השיחה עם הנציג הסתיימה.",
    Handover.RETURNED: "אני שוב איתכם.",
}
"""What the caller is told who waited for a person."""

PASSED_ON: Final = "זה מה שנמסר לי בשבילכם, מילה במילה: {told}."


@dataclass(frozen=True, slots=True)
class Desk:
    """What stays the same through a call."""

    business: Business
    script: Script
    context: CallContext


def greet(desk: Desk, state: State) -> Decided:
    """The greeting and the first question."""
    return _Turn(desk, state, CallerTurn(0)).greet()


def answer(desk: Desk, state: State, turn: CallerTurn, history: Sequence[Entry]) -> Decided:
    """The answer to `turn`; `history` is what was heard before it."""
    return _Turn(desk, state, turn).answer(history)


def back(desk: Desk, state: State, number: int, how: Handover, told: str = "") -> Decided:
    """The person that turn `number` was to be connected to did not take the call: what they said to tell the caller is
    passed on as they said it, and what is still missing is asked."""
    why = PASSED_ON.format(told=told.rstrip(" .,")) if told else HANDED_BACK[how]
    return _Turn(desk, state, CallerTurn(number)).back(why)


def take_over(desk: Desk, state: State, turn: CallerTurn, opening: str) -> Decided:
    """`opening`, and the first question that is still open; `state` is what another agent learned until `turn`."""
    return _Turn(desk, state, turn).take_over(opening)


class _Turn:
    """Decides one turn: `state` moves and what is said gathers; nothing outside changes."""

    def __init__(self, desk: Desk, state: State, turn: CallerTurn) -> None:
        self._business = desk.business
        self._script = desk.script
        self._context = desk.context
        self._state = state
        self._turn = turn
        self._said: list[str] = []
        self._then: Transfer | EndCall | None = None
        self._sure = 1.0 if turn.confidence is None else max(0.3, turn.confidence)
        self._news: frozenset[str] = frozenset()  # learned from this turn without having been asked
        self._unheard = False  # the caller cut in before our question was out

    def greet(self) -> Decided:
        self._said.append(self._context.opening or self._context.greeting or self._business.greeting)
        if NAME in self._state.known:
            self._say(self._script.line("welcome_back"))
        self._go_on()
        return self._decided()

    def back(self, why: str) -> Decided:
        self._said.append(why)
        self._set(ended=False)
        self._go_on()
        return self._decided()

    def take_over(self, opening: str) -> Decided:
        self._said.append(opening)
        if self._turn.text:
            self._note(NOTE, self._turn.text)
        self._go_on()
        return self._decided()

    def answer(self, history: Sequence[Entry]) -> Decided:
        self._unheard = self._turn.cut_in and not _question_heard(self._state.asked, history)
        if self._state.ended:
            self._say(self._script.line("bye"))
            self._then = EndCall("completed")
        elif self._turn.silent:
            self._silent()
        else:
            self._set(silences=0)
            if self._state.doubt and self._settle_doubt(self._state.doubt):
                return self._decided()
            self._weigh_readings()
            if self._turn.dtmf:
                self._pressed(self._turn.dtmf)
            elif not words(self._turn.text):
                self._again()
            else:
                self._spoken(self._turn.text)
            self._doubt_readings()
        return self._decided()

    def _decided(self) -> Decided:
        texts = [text if i == 0 else f" {text}" for i, text in enumerate(self._said)]
        expect = Expect.NOTHING if self._then else self._state.expect
        actions: list[Action] = [*map(Say, texts), Ask(expect)]
        if self._then:
            actions.append(self._then)
        return self._state, tuple(actions)

    # --- small tools

    @property
    def _step(self) -> Step | None:
        return self._script.steps[self._state.step] if self._state.step < len(self._script.steps) else None

    def _set(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]

    def _mark(self, mark: str) -> None:
        self._set(marks=self._state.marks | {mark})

    def _learn(
        self, key: str, value: str, *, sure: float = 1.0, spoken: str = "", confirmed: bool = False, quote: str = ""
    ) -> None:
        quote = quote or self._turn.text or self._turn.dtmf
        known = Known(value, self._turn.number, quote, round(sure * self._sure, 3), spoken, confirmed)
        self._set(known={**self._state.known, key: known})

    def _note(self, key: str, value: str) -> None:
        before = self._state.extra.get(key, "")
        joined = value if not before else before if value in before else f"{before}; {value}"
        self._set(extra={**self._state.extra, key: joined[:_LONGEST_NOTE]})

    def _say(self, line: Line) -> None:
        self._said.extend(line.render(self._values()))

    def _values(self) -> dict[str, str]:
        known = self._state.known
        need = known.get(NEED)
        return {
            "name": _first_name(known.get(NAME)),
            "need": (slots.restate(need.value) or "") if need else "",
            "time": known[TIME].spoken if TIME in known else "",
            "phone": self._heard_spoken(),
            "value": self._detail_spoken(),
            "business": self._business.name,
            "address": self._business.address,
            **self._two_readings(),
        }

    def _heard_spoken(self) -> str:
        heard = self._state.heard
        if heard.e164 and self._state.refusals:
            return slots.slowly(national(heard.e164))
        return slots.readback(heard.e164) if heard.e164 else slots.spell(heard.digits)

    def _detail_spoken(self) -> str:
        detail = self._state.detail
        return (detail.slowly if self._state.refusals else "") or detail.spoken

    def _ask(self, line: Line, expect: Expect) -> None:
        """The question that the next turn answers."""
        pieces = line.render(self._values())
        self._said.extend(pieces)
        self._set(asked=pieces, expect=expect)

    def _ask_again(self) -> None:
        """The same question in the same words, after something else was said."""
        self._said.extend(self._state.asked)

    # --- moving through the steps

    def _go_on(self) -> None:
        """To the first step that is neither answered nor given up, or to the end."""
        if "leaving" in self._state.marks:
            self._goodbye("farewell")
            return
        for number, step in enumerate(self._script.steps):
            if number not in self._state.given_up and step.id not in self._state.known:
                if step.slot is Slot.SUMMARY and len(step.say.render(self._values())) <= len(tuple(step.say.fixed())):
                    continue  # nothing to sum up
                if number != self._state.step:
                    self._set(step=number, tries=0, refusals=0, refused="")
                    self._forget_detail()
                if step.id in self._state.early and not self._state.detail and not self._state.refusals:
                    self._set(detail=self._state.early[step.id], detail_id=step.id)
                self._enter(step)
                return
        self._goodbye("completed")

    def _enter(self, step: Step) -> None:
        if _rules(step) and self._state.detail.value:
            self._confirm_detail(step)
        elif step.slot is not Slot.PHONE:
            self._ask(step.say, _EXPECT[step.slot])
        elif self._state.heard.complete:
            self._confirm_phone(step)
        elif self._callers_own and step.line("offer").pieces and "offer_refused" not in self._state.marks:
            self._set(phone_mode="offer")
            self._ask(step.line("offer"), Expect.YES_NO)
        else:
            self._set(phone_mode="ask")
            self._ask(step.say, Expect.PHONE)

    @property
    def _callers_own(self) -> str:
        """The number they call from, where one can call it back."""
        number = to_e164(self._context.caller) or ""
        return number if number.startswith("+") and not national(number).startswith("1") else ""

    def _answered(self) -> None:
        """The step has its answer."""
        step = self._step
        if step:
            self._say(step.line("thanks"))
        self._go_on()

    def _again(self) -> None:
        """Nothing was understood: ask in other words, and after `tries` go on without an answer."""
        step = self._step
        if step is None:
            self._go_on()
            return
        if self._unheard:
            self._enter(step)
            return
        tries = self._state.tries + 1
        self._set(tries=tries)
        if tries >= step.tries:
            self._give_up(step)
        elif step.slot is Slot.PHONE and self._state.phone_mode == "confirm":
            self._confirm_phone(step)
        elif step.slot is Slot.PHONE and self._state.phone_mode == "offer":
            self._ask(step.line("offer"), Expect.YES_NO)
        elif self._state.confirming:
            self._confirm_detail(step)
        elif (detail := self._state.detail).ask and tries < _ENOUGH:
            self._ask_part(step)
        elif detail.ask:  # no more is to be had: what there is
            self._set(detail=replace(detail, value=detail.partly, ask=""))
            self._confirm_detail(step)
        else:
            self._ask(step.again[min(tries, len(step.again)) - 1], _EXPECT[step.slot])

    def _give_up(self, step: Step) -> None:
        """Go on without an answer. What was heard but not confirmed is kept as such."""
        detail = self._state.detail
        if _rules(step) and detail and (not detail.value or detail.value != self._state.refused):
            quote = self._state.heard_from
            self._learn(step.id, (detail.value or detail.partly) + UNCONFIRMED, sure=min(0.4, detail.sure), quote=quote)
        self._forget_detail()
        if step.slot is Slot.PHONE and self._state.heard.e164:
            self._learn(PHONE, self._state.heard.e164, sure=min(0.4, self._state.heard.confidence))
        self._set(given_up=self._state.given_up | {self._state.step}, heard=slots.heard(""))
        if step.slot is not Slot.SUMMARY and "leaving" not in self._state.marks:
            self._say(self._script.line("skip"))
        self._go_on()

    def _goodbye(self, reason: str) -> None:
        known = self._state.known
        something = known.keys() - {NAME} or (NAME in known and known[NAME].turn)
        self._say(self._script.line("goodbye" if something else "bye"))
        self._then = EndCall(reason)
        self._set(ended=True, asked=(), expect=Expect.NOTHING, step=len(self._script.steps))

    def _leave(self) -> None:
        """The caller says goodbye. If they want something and nobody could call them back, ask for the number once."""
        phone = self._script.index(Slot.PHONE)
        reachable = self._callers_own or PHONE in self._state.known or self._state.heard.complete
        if NEED in self._state.known and not reachable and phone is not None and "leaving" not in self._state.marks:
            self._mark("leaving")
            self._set(step=phone, tries=self._script.steps[phone].tries - 2, phone_mode="ask")
            self._ask(self._script.line("last_chance"), Expect.PHONE)
            return
        if self._state.heard.e164 and PHONE not in self._state.known:
            self._learn(PHONE, self._state.heard.e164, sure=min(0.5, self._state.heard.confidence))
        self._goodbye("farewell")

    def _silent(self) -> None:
        silences = self._state.silences
        self._set(silences=silences + 1)
        if silences >= len(self._script.silence):
            self._say(self._script.line("silence_goodbye"))
            self._then = EndCall("silence")
            self._set(ended=True, expect=Expect.NOTHING)
            return
        self._say(self._script.silence[silences])
        self._ask_again()

    # --- what the caller does

    def _pressed(self, keys: str) -> None:
        """Keys: a number wherever one is wanted, 1 and 2 for yes and no, 0 for a person. '*' starts anew, '#' ends."""
        digits = keys.rpartition("*")[2].replace("#", "")
        step = self._step
        if self._state.expect is Expect.YES_NO and digits in ("1", "2"):
            self._spoken(YES if digits == "1" else NO)
            return
        rules = _rules(step)
        if step and rules and self._state.expect is not Expect.YES_NO:
            self._keyed_detail(step, rules, digits)
            return
        typed = slots.heard(digits)
        if not typed.complete and step and step.slot is Slot.PHONE and self._state.phone_mode == "ask":
            typed = slots.join(self._state.heard, typed)
        if typed.e164:
            self._set(heard=typed, heard_from=keys)
            self._learn(PHONE, typed.e164, confirmed=True)
            self._phone_settled("keyed")
        elif digits == "0" and self._state.expect is not Expect.PHONE:
            self._person()
        elif step and step.slot is Slot.PHONE and digits and not keys.endswith("#"):
            self._set(heard=typed, phone_mode="ask", heard_from=keys)
            self._ask(step.line("more"), Expect.PHONE)
        else:
            if step and step.slot is Slot.PHONE and self._state.phone_mode != "offer":
                self._set(heard=slots.heard(""), heard_from="", phone_mode="ask")
            self._again()

    def _spoken(self, text: str) -> None:
        if optout.in_call(text):
            self._set(extra={**self._state.extra, wishes.OPT_OUT: YES}, ended=True, asked=(), expect=Expect.NOTHING)
            self._say(self._script.line("removed"))
            self._then = EndCall("opted_out")
        elif slots.repeat_please(text):
            self._ask_again()
        elif slots.hold_on(text):
            self._say(self._script.line("hold"))
        elif slots.wants_person(text):
            self._learn_unasked(text)
            self._person()
        elif slots.do_not_record(text):
            self._set(extra={**self._state.extra, DO_NOT_RECORD: YES})
            self._say(self._script.line("not_recording"))
            self._ask_again()
        else:
            self._news = self._learn_unasked(text)
            if slots.farewell(text):
                self._leave()
            elif self._number_given(text) or not self._question(text):
                self._to_step(text)

    def _number_given(self, text: str) -> bool:
        """Digits where a number is asked for, or what else is asked for, are no question, whatever else is said."""
        step = self._step
        rules = _rules(step)
        if rules and not self._state.confirming:
            heard = rules.hear(text, self._state.detail, self._context.now)
            return bool(heard) and not (slots.is_question(text) and not heard.value)
        return bool(step and step.slot is Slot.PHONE and slots.phone(text).digits)

    def _person(self) -> None:
        again = "person" in self._state.marks
        self._mark("person")
        self._set(extra={**self._state.extra, ASKED_FOR_PERSON: YES})
        if self._business.transfer_number and self._business.is_open(self._context.now):
            self._say(self._script.line("transfer"))
            self._then = Transfer(self._business.transfer_number, "caller_asked")
            self._set(ended=True, expect=Expect.NOTHING)
            return
        self._say(self._script.line("no_transfer_again" if again else "no_transfer"))
        self._ask_again()

    def _learn_unasked(self, text: str) -> frozenset[str]:
        """What the words tell without having been asked: a name after its marker, a whole number, a time to call."""
        step, news = self._step, set[str]()
        found = slots.find_name(text, asked=False)
        if found:
            self._learn(NAME, found.name, sure=found.sure, spoken=found.name.split()[0])
            news.add(NAME)
        if not (step and (step.slot is Slot.PHONE or _rules(step))):
            heard = slots.phone(text, asked=False)
            old = self._state.known.get(PHONE)
            if heard.e164 and heard.e164.startswith("+") and not (old and old.value == heard.e164):
                self._set(heard=heard, heard_from=text, known=_without(self._state.known, PHONE))
                news.add(PHONE)
        for other in self._script.steps:
            rules = _rules(other)
            if rules and other is not step and other.id not in self._state.known and (told := rules.early(text)):
                self._set(early={**self._state.early, other.id: told})
        wish = slots.time_wish(text, asked=False, now=self._context.now)
        if wish:
            self._learn_time(wish)
            news.add(TIME)
        if step and step.slot is Slot.NEED and (need := slots.need(text)) and not self._only_asks(text):
            if wish and len(words(need)) <= len(words(wish.text)) + 2:
                return frozenset(news)  # "תחזרו אליי מחר" alone is no need
            service = self._service(text) if slots.asks_price(text) else None
            self._learn(NEED, service.name if service else need, sure=0.6 if service else 0.9)
            news.add(NEED)
        return frozenset(news)

    def _learn_time(self, wish: slots.TimeWish) -> None:
        self._learn(TIME, wish.text, sure=0.9, spoken=wish.spoken)
        self._set(callback_at=self._business.callback_at(wish.when) if wish.when else None)

    def _only_asks(self, text: str) -> bool:
        """It can be answered here and now, or asks for a person, and is not the reason of the call."""
        return slots.wants_only_person(text) or (bool(self._answer_to(text)) and self._service(text) is None)

    def _question(self, text: str) -> bool:
        """Answer a question, then come back to ours. False if there was none that we can answer."""
        answer = self._answer_to(text)
        step = self._step
        if not answer:
            if not (step and step.line("why").pieces and find_any(text, _WHY) and len(words(text)) <= _MANY_WORDS + 4):
                return False
            answer = step.line("why").render(self._values())
        self._said.extend(answer)
        if step and step.slot is Slot.NEED and NEED not in self._state.known:
            self._mark("answered")
            self._ask(self._script.line("anything_else"), Expect.OPEN)
        elif self._news:
            self._go_on()
        else:
            self._ask_again()
        return True

    def _answer_to(self, text: str) -> tuple[str, ...]:
        business = self._business
        question = slots.is_question(text)
        if slots.asks_price(text):
            service = self._service(text)
            return (business.price_text(service),) if service else self._script.line("price_unknown").render({})
        for faq in business.faq if question else ():
            if find_any(text, tuple(words(keyword) for keyword in faq.keywords)):
                return (faq.answer,)
        if slots.asks_hours(text):
            return (business.now_text(self._context.now), business.week_text())
        if slots.asks_address(text):
            key = "address" if business.address else "address_unknown"
            return self._script.line(key).render({"address": business.address})
        return ()

    def _service(self, text: str) -> Service | None:
        for service in self._business.services:
            wanted = (words(service.name), *(words(keyword) for keyword in service.keywords))
            if find_any(text, wanted):
                return service
        return None

    def _to_step(self, text: str) -> None:
        """The answer to the question that was asked."""
        step = self._step
        if step is None:
            self._goodbye("completed")
            return
        if PHONE in self._news and step.slot is Slot.SUMMARY:
            self._go_on()  # a new number for the old one is confirmed at once
            return
        match step.slot:
            case Slot.NEED:
                self._need(text)
            case Slot.NAME:
                self._name(text)
            case Slot.PHONE:
                self._phone(step, text)
            case Slot.TIME:
                self._time(text)
            case Slot.TEXT | Slot.CHOICE:
                self._own(step, text)
            case Slot.SUMMARY:
                self._summary(step, text)
            case _:
                self._detail(step, RULES[_EXPECT[step.slot]], text)

    def _need(self, text: str) -> None:
        if NEED in self._news:
            if NAME in self._news:
                self._thank_for_name()
                self._go_on()
            else:
                self._answered()
        elif "answered" in self._state.marks and slots.yes_no(text) is False:
            self._goodbye("farewell")
        elif NAME in self._news and self._step and self._state.tries + 1 < self._step.tries:
            self._set(tries=self._state.tries + 1)
            self._thank_for_name()
            self._enter(self._step)
        else:
            self._again()

    def _thank_for_name(self) -> None:
        number = self._script.index(Slot.NAME)
        if number is not None:
            self._say(self._script.steps[number].line("thanks"))

    def _name(self, text: str) -> None:
        if NAME not in self._news:
            found = slots.find_name(text, asked=True)
            if found is None:
                if not self._told_more(text):
                    self._again()
                return
            self._learn(NAME, found.name, sure=found.sure, spoken=found.name.split()[0])
        self._answered()

    def _told_more(self, text: str) -> bool:
        """Instead of an answer the caller told something else: keep it, and ask again without an apology."""
        if self._news:
            self._heard_more()
            return True
        if slots.is_question(text) and len(words(text)) >= _MANY_WORDS:
            self._note(QUESTION, text.strip())
            self._say(self._script.line("no_answer"))
            self._ask_again()
            return True
        more = slots.need(text)
        # where digits are awaited, words that are none are a number misheard rather than a story
        if more is None or len(words(more)) < _MANY_WORDS or self._state.expect in _DIGITS:
            return False
        need = self._state.known.get(NEED)
        if need is None:
            self._learn(NEED, more, sure=0.7)
        else:
            joined = replace(need, value=f"{need.value}, {more}", quote=f"{need.quote} / {text}")
            self._set(known={**self._state.known, NEED: joined})
        self._heard_more()
        return True

    def _heard_more(self) -> None:
        """It was no answer, but worth hearing: the question again, unless it was asked often enough."""
        tries = self._state.tries + (0 if self._unheard else 1)
        self._set(tries=tries)
        step = self._step
        if step and tries >= step.tries:
            self._give_up(step)
        else:
            self._say(self._script.line("heard_more"))
            self._ask_again()

    # --- the number

    def _phone(self, step: Step, text: str) -> None:
        match self._state.phone_mode:
            case "offer":
                self._offered(step, text)
            case "confirm":
                self._confirming(step, text)
            case "ask":
                self._dictated(step, text)

    def _offered(self, step: Step, text: str) -> None:
        said = words(text)
        answer = slots.yes_no(text)
        if slots.phone(text, asked=False).digits and answer is not True:
            self._set(phone_mode="ask")
            self._dictated(step, text)
        elif answer or (answer is None and (said[0] in _ASSENT or find_any(text, _THIS_NUMBER))):
            self._own_number()
        elif answer is False:
            self._mark("offer_refused")
            self._set(phone_mode="ask")
            self._ask(step.say, Expect.PHONE)
        elif not self._told_more(text):
            self._again()

    def _own_number(self) -> None:
        self._learn(PHONE, self._callers_own, sure=_CERTAIN, confirmed=True)
        self._phone_settled("thanks")

    def _dictated(self, step: Step, text: str) -> None:
        now = slots.phone(text)
        if not now.complete and self._state.refused and placed(words(text)):
            now = slots.amend(self._state.refused, text)  # "בסוף שבע שמונה": of the number that was refused
        if not now.digits:
            if self._callers_own and find_any(text, _THIS_NUMBER):
                self._own_number()
            elif not self._told_more(text):
                self._again()
            return
        heard = slots.join(self._state.heard, now)
        if heard.e164 and heard.e164.startswith("+"):
            self._set(heard=heard, heard_from=_quoted(self._state.heard_from, text))
            self._confirm_phone(step)
        elif len(heard.digits) >= 10 or heard.complete:
            self._set(heard=slots.heard(""), heard_from="")
            self._again()
        elif len(heard.digits) > len(self._state.heard.digits) or self._count_try(step):
            self._set(heard=heard, heard_from=_quoted(self._state.heard_from, text))
            self._ask(step.line("more"), Expect.PHONE)

    def _confirm_phone(self, step: Step) -> None:
        """Read it back: in groups, and once that was refused, digit by digit."""
        self._set(phone_mode="confirm")
        self._ask(step.line("slowly" if self._state.refusals else "confirm"), Expect.YES_NO)

    def _confirming(self, step: Step, text: str) -> None:
        heard = self._state.heard
        assert heard.e164
        answer = slots.yes_no(text)
        amended = slots.amend(national(heard.e164), text) if answer is not True else slots.heard("")
        if amended.e164 and amended.e164 != heard.e164:
            self._set(heard=amended, heard_from=text, refusals=self._state.refusals + 1)
            if self._count_try(step):
                self._confirm_phone(step)
        elif answer or amended.e164:
            self._learn(PHONE, heard.e164, sure=max(0.9, heard.confidence), confirmed=True)
            self._phone_settled("thanks")
        elif answer is False or amended.digits:
            refusals, refused = self._state.refusals + 1, national(heard.e164)
            self._set(heard=slots.heard(""), heard_from="", phone_mode="ask", refusals=refusals, refused=refused)
            if self._count_try(step):
                self._ask(step.line("wrong" if refusals == 1 else "keys"), Expect.PHONE)
        else:
            self._again()

    def _count_try(self, step: Step) -> bool:
        """One more try; False, and on without an answer, when that was the last."""
        self._set(tries=self._state.tries + 1)
        if self._state.tries < step.tries:
            return True
        self._give_up(step)
        return False

    def _phone_settled(self, thanks: str) -> None:
        number = self._script.index(Slot.PHONE)
        quote = self._state.heard_from
        if quote and self._state.known[PHONE].value == self._state.heard.e164:
            known = replace(self._state.known[PHONE], quote=quote)
            self._set(known={**self._state.known, PHONE: known})
        self._set(heard=slots.heard(""), heard_from="")
        if number is not None:
            self._say(self._script.steps[number].line(thanks))
        self._go_on()

    # --- what the owner's steps ask for

    def _detail(self, step: Step, rules: Rules, text: str) -> None:
        before, now = self._state.detail, self._context.now
        if self._state.confirming:
            self._confirming_detail(step, rules, text)
            return
        heard = rules.hear(text, before, now)
        if not heard.value and self._state.refusals and placed(words(text)):
            heard = rules.amend(text, before, now)  # "בסוף שבע שמונה": of what was refused
        if heard:
            self._take_detail(step, heard, text)
        elif not self._told_more(text):
            self._again()

    def _keyed_detail(self, step: Step, rules: Rules, keys: str) -> None:
        heard = rules.keyed(keys, self._state.detail, self._context.now)
        if heard.value and step.slot is not Slot.ADDRESS:
            self._set(detail=heard, detail_id=step.id, heard_from=keys)
            self._settle_detail(step, "keyed", confirmed=True)
        elif heard:
            self._take_detail(step, heard, keys)
        else:
            self._forget_detail(keep=step.slot is Slot.ADDRESS)
            self._again()

    def _take_detail(self, step: Step, heard: Detail, said: str) -> None:
        """Something of it was heard: read it back when it is whole, else ask for the rest."""
        before = self._state.detail
        more = before.partly != heard.partly and (not before.ask or heard.ask != before.ask)
        goes_on = before and not before.wrong and not self._state.refused
        quote = _quoted(self._state.heard_from, said) if goes_on else said
        self._set(detail=heard, detail_id=step.id, heard_from=quote)
        if heard.value:
            self._confirm_detail(step)
        elif heard.wrong:
            if self._count_try(step):
                self._ask(step.line("invalid" if self._state.tries == 1 else "keys"), _EXPECT[step.slot])
        elif more or self._count_try(step):
            self._ask_part(step)

    def _ask_part(self, step: Step) -> None:
        """The rest of a number, or the part of an address that is missing."""
        detail = self._state.detail
        self._ask(step.line(detail.ask or "more"), expected(_EXPECT[step.slot], detail))

    def _confirm_detail(self, step: Step) -> None:
        slow = self._state.refusals and step.line("slowly").pieces
        line = step.line("slowly" if slow else "confirm")
        if not line.pieces:  # a number is only read back where the owner wants it
            self._settle_detail(step, "thanks")
            return
        self._set(confirming=True)
        self._ask(line, Expect.YES_NO)

    def _confirming_detail(self, step: Step, rules: Rules, text: str) -> None:
        detail, answer = self._state.detail, slots.yes_no(text)
        amended = rules.amend(text, detail, self._context.now) if answer is not True else NOTHING
        if amended.value and amended.value != detail.value:
            self._set(detail=amended, heard_from=text, refusals=self._state.refusals + 1)
            if self._count_try(step):
                self._confirm_detail(step)
        elif answer or amended.value:
            self._settle_detail(step, "thanks", confirmed=True)
        elif answer is False or amended:
            refusals = self._state.refusals + 1
            self._set(confirming=False, refusals=refusals, refused=detail.value)
            if self._count_try(step):
                keys = step.line("keys").pieces and refusals > 1
                self._ask(step.line("keys" if keys else "wrong"), _EXPECT[step.slot])
        else:
            self._again()

    def _settle_detail(self, step: Step, thanks: str, *, confirmed: bool = False) -> None:
        detail = self._state.detail
        sure = max(0.9, detail.sure) if confirmed else detail.sure
        quote = self._state.heard_from
        self._learn(step.id, detail.value, sure=sure, spoken=detail.spoken, confirmed=confirmed, quote=quote)
        self._say(step.line(thanks))
        self._forget_detail()
        self._go_on()

    def _forget_detail(self, *, keep: bool = False) -> None:
        self._set(confirming=False)
        if not keep and (self._state.detail or self._state.detail_id):
            self._set(detail=NOTHING, detail_id="", heard_from="")

    # --- what two engines heard differently

    def _weigh_readings(self) -> None:
        """Go by the better reading of this turn, and be surer where both say the same."""
        if disagreement.agreed(self._turn):
            self._sure = (1.0 + self._sure) / 2
        self._turn = replace(self._turn, text=disagreement.best_text(self._turn))
        readings = {field: values for field, _, values in disputed(self._turn.second)}
        self._set(readings={**self._state.readings, **readings})

    def _doubt_readings(self) -> None:
        """Where the readings differ in something that stands, the next question is about that alone."""
        state = self._state
        known = {slot: state.known.get(self._key(slot)) for slot in SLOTS}
        standing = {slot: one.value for slot, one in known.items() if one and one.turn and not one.confirmed}
        if state.heard.e164:
            standing[Expect.PHONE] = state.heard.e164
        if state.confirming and self._step:
            standing[_EXPECT[self._step.slot]] = state.detail.value
        differing = disagreement.find(self._turn, standing) if not (self._then or state.ended or state.doubt) else None
        if differing is None:
            return
        doubt = disagreement.Doubt(differing.slot, differing.first, differing.second)
        step = self._step
        if doubt.difference is None:  # two numbers with little in common: once more is shorter than comparing
            self._set(heard=slots.heard(""), heard_from="")
            if step and step.slot is Slot.PHONE and self._count_try(step):
                self._said.clear()
                self._set(phone_mode="ask")
                self._ask(step.again[0], Expect.PHONE)
            return
        late = not disagreement.of_turn(self._turn)
        answered = len(self._said) - len(self._state.asked) if late else 0
        del self._said[answered:]
        self._set(doubt=doubt)
        self._ask(self._script.line(f"which_{doubt.difference.place}"), doubt.slot)

    def _settle_doubt(self, doubt: disagreement.Doubt) -> bool:
        """The answer to "this or that?". False where the caller did something else, which comes first."""
        text, keys = self._turn.text, self._turn.dtmf
        value = disagreement.chosen(doubt, self._turn)
        if value is not None:
            self._set(doubt=None)
            self._take_reading(doubt, value, sure=_CERTAIN, confirmed=doubt.slot is not Expect.PHONE)
        elif keys or _is_wish(text) or self._answer_to(text):
            self._set(doubt=None if keys else doubt)
            return False
        elif doubt.tries == 0:
            self._set(doubt=replace(doubt, tries=1))
            self._say(self._script.line("which_again"))
            self._ask_again()
        else:
            self._set(doubt=None)
            self._take_reading(doubt, doubt.first, sure=disagreement.KEPT_UNSURE, confirmed=False)
        return True

    def _take_reading(self, doubt: disagreement.Doubt, value: str, *, sure: float, confirmed: bool) -> None:
        """The slot has its value; on to the first question that is open. A number is read back, as every number."""
        key = self._key(doubt.slot)
        if doubt.slot is Expect.PHONE:
            self._set(
                heard=slots.heard(national(value), sure),
                heard_from=_quoted(self._state.heard_from, self._turn.text),
                known=_without(self._state.known, PHONE),
            )
        elif self._state.confirming and (step := self._step) and (rules := _rules(step)):
            self._set(detail=rules.hear(value, NOTHING, self._context.now), confirming=False)
            self._settle_detail(step, "thanks", confirmed=confirmed)
            return
        else:
            old = self._state.known[key]
            known = replace(old, value=value, spoken=value.split(maxsplit=1)[0] if key == NAME else "", sure=sure)
            self._set(known={**self._state.known, key: replace(known, confirmed=confirmed)})
            if key == NAME:
                self._thank_for_name()
        self._go_on()

    def _key(self, slot: Expect) -> str:
        """Where the state keeps this slot: the id of the step that asks for it."""
        return next((step.id for step in self._script.steps if step.slot.value == slot.value), slot.value)

    def _two_readings(self) -> dict[str, str]:
        apart = self._state.doubt.difference if self._state.doubt else None
        return {"first": apart.first, "second": apart.second} if apart else {}

    # --- the rest

    def _time(self, text: str) -> None:
        if TIME not in self._news:
            wish = slots.time_wish(text, now=self._context.now)
            if wish:
                self._learn_time(wish)
            elif (
                not self._news
                and not slots.phone(text, asked=False).digits
                and slots.yes_no(text) is None
                and _MANY_WORDS - 2 <= len(words(text)) <= 12
                and not slots.is_question(text)
            ):
                self._learn(TIME, text.strip(" .,"), sure=0.5)  # "אחרי שאני חוזר מהעבודה"
            else:
                self._again()
                return
        self._answered()

    def _own(self, step: Step, text: str) -> None:
        if step.slot is Slot.CHOICE:
            answer = slots.yes_no(text)
            value = None if answer is None else YES if answer else NO
        else:
            value = slots.need(text)
        if value is None:
            self._again()
            return
        self._learn(step.id, value, sure=0.9)
        self._answered()

    def _summary(self, step: Step, text: str) -> None:
        answer = slots.yes_no(text)
        fixing = "fixing" in self._state.marks
        if answer and not fixing:
            if len(words(text)) > _MANY_WORDS:
                self._note(NOTE, text.strip())
            self._learn(step.id, YES)
            self._answered()
        elif self._corrected(text, fixing or answer is False):
            self._set(marks=self._state.marks - {"fixing"})
            if self._count_try(step):
                self._enter(step)
        elif answer is False and not fixing:
            self._mark("fixing")
            if self._count_try(step):
                self._ask(step.line("fix"), Expect.OPEN)
        elif answer is not None:
            self._learn(step.id, YES)
            self._answered()
        else:
            self._again()

    def _corrected(self, text: str, wrong: bool) -> bool:
        """Whether the words change something of what was summed up."""
        if self._news:
            return True
        if not wrong:
            return False
        wish = slots.time_wish(text, now=self._context.now)
        if wish:
            self._learn_time(wish)
            return True
        rest = slots.need(text)
        said = words(rest or "")
        while said and said[0] in ("לא", "נכון", "זה"):
            said = said[1:]
        if len(said) < 2:
            return False
        self._learn(NEED, " ".join(said), sure=0.8)
        return True


def _rules(step: Step | None) -> Rules | None:
    """How the answer to a step is understood, where that is one of `details`."""
    return RULES.get(_EXPECT[step.slot]) if step else None


def _is_wish(text: str) -> bool:
    """One of the wishes that may come at any time."""
    wishes = (slots.repeat_please, slots.hold_on, slots.wants_person, slots.do_not_record, slots.farewell)
    return any(wish(text) for wish in wishes)


def find_any(text: str, wanted: tuple[tuple[str, ...], ...]) -> bool:
    """Whether one of the phrases stands in `text`, prefixes allowed."""
    said = words(text)
    return any(find(said, phrase, prefixes=True) >= 0 for phrase in wanted)


def _question_heard(asked: tuple[str, ...], history: Sequence[Entry]) -> bool:
    """Whether the caller heard at least half of our last question before cutting in."""
    entry = next((entry for entry in reversed(history) if entry.speaker is Speaker.AGENT), None)
    if entry is None or not entry.cut or not asked:
        return True
    question = words(" ".join(asked))
    half = question[: (len(question) + 1) // 2]
    return find(words(entry.text), half) >= 0


def _first_name(known: Known | None) -> str:
    return (known.spoken or known.value) if known else ""


def _without(known: Mapping[str, Known], key: str) -> dict[str, Known]:
    return {name: value for name, value in known.items() if name != key}


def _quoted(*words: str) -> str:
    """What the caller said in more than one turn, as one quote."""
    return " / ".join(said for said in words if said)
