"""The tools an LLM agent may use: their schemas, the validation of their arguments, and what they do.

Names and arguments are English, values are what the caller said. A model's arguments are never trusted: they are parsed
here, phone numbers by `crm.phone` and the rest by the same functions that understand callers, and what is wrong goes
back to the model as a sentence it can act on. A tool with an effect runs only after the turn was committed; one without
may run while the reply is still speculative.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moked.channels import wishes
from moked.crm.phone import to_e164
from moked.dialog import CallContext, EndCall, Transfer
from moked.dialog.addresses import address
from moked.dialog.business import Business
from moked.dialog.identity import ID
from moked.dialog.moments import Moment, Precision, moment
from moked.dialog.plate import PLATE, written
from moked.dialog.spoken_digits import hear
from moked.records import FieldSource, LeadDraft

_HEARD_CONFIDENCE: Final = 0.7
_CONFIRMED_CONFIDENCE: Final = 0.95
# Keys of the lead's `extra`, as the owner reads them.
ID_NUMBER, PLATE_NUMBER, ADDRESS, DATE = "תעודת זהות", "מספר רכב", "כתובת", "תאריך"
_NO_SUCH_ID: Final = "זה לא מספר תעודת זהות אפשרי (ספרת הביקורת לא מתאימה): לבקש אותו שוב, ספרה ספרה"
_NO_SUCH_PLATE: Final = "במספר רכב יש שבע או שמונה ספרות: לבקש אותו שוב, ספרה ספרה"
_NO_ADDRESS: Final = "זו לא כתובת: לבקש רחוב, מספר בית ועיר"
_NO_DATE: Final = "לא ברור איזה תאריך זה, או שאין תאריך כזה: לבקש יום וחודש"
_PAST: Final = "המועד הזה כבר עבר: לבקש מועד אחר"
_STILL: Final = {
    "city": "בכתובת חסרה העיר: לבקש אותה", "street": "בכתובת חסר הרחוב: לבקש אותו",
    "house": "בכתובת חסר מספר הבית: לבקש אותו",
}  # fmt: skip


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class SaveLead(_Arguments):
    """Save what the caller told so far. Call it as soon as something is known; only the given fields change."""

    name: str | None = Field(None, max_length=80, description="The caller's name, in Hebrew letters as said.")
    phone: str | None = Field(None, max_length=30, description="Phone number to call back, digits only.")
    phone_confirmed: bool | None = Field(None, description="True once the caller agreed to the number read back.")
    need: str | None = Field(None, max_length=400, description="What the caller needs, one sentence in Hebrew.")
    best_time: str | None = Field(None, max_length=80, description="When to call back, in Hebrew as said.")
    id_number: str | None = Field(None, max_length=120, description="Israeli identity number, nine digits.")
    plate: str | None = Field(None, max_length=120, description="Licence plate, seven or eight digits.")
    address: str | None = Field(None, max_length=120, description="Street, house number and town, in Hebrew.")
    date: str | None = Field(None, max_length=80, description="A day asked for: YYYY-MM-DD, or in Hebrew as said.")
    summary: str | None = Field(None, max_length=600, description="Summary of the call for the owner, in Hebrew.")


class LookUpCaller(_Arguments):
    """What is known about this caller from earlier calls."""


class OpeningHours(_Arguments):
    """The opening hours, and whether the business is open now."""


class SendDetails(_Arguments):
    """Send details in writing after the call. Ask first ("לשלוח לך פרטים בוואטסאפ?"): the answer is kept as proof."""

    channel: Literal["whatsapp", "sms"] = Field(description="Where they want it.")
    agreed: bool = Field(description="True only after a clear yes to that very question.")


class DoNotContact(_Arguments):
    """The caller asks not to be contacted any more. Confirm it in one sentence and say goodbye."""


class TransferToPerson(_Arguments):
    """Connect the caller to a person. First say one short sentence that you are connecting them."""

    reason: str = Field(max_length=200, description="Why, in Hebrew, for the person who picks up.")


class EndConversation(_Arguments):
    """Hang up. First say a short goodbye."""

    reason: str = Field("done", max_length=60)


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    arguments: type[_Arguments]
    has_effect: bool

    def schema(self) -> dict[str, Any]:
        """The function definition as OpenAI-compatible servers take it."""
        parameters = self.arguments.model_json_schema()
        parameters.pop("title", None)
        description = parameters.pop("description", "")
        for field in parameters.get("properties", {}).values():
            field.pop("title", None)
        return {
            "type": "function",
            "function": {"name": self.name, "description": description, "parameters": parameters},
        }


TOOLS: Final = (
    Tool("save_lead", SaveLead, has_effect=True),
    Tool("look_up_caller", LookUpCaller, has_effect=False),
    Tool("opening_hours", OpeningHours, has_effect=False),
    Tool("send_details", SendDetails, has_effect=True),
    Tool("do_not_contact", DoNotContact, has_effect=True),
    Tool("transfer_to_person", TransferToPerson, has_effect=True),
    Tool("end_call", EndConversation, has_effect=True),
)
BY_NAME: Final = {tool.name: tool for tool in TOOLS}


@dataclass(frozen=True, slots=True)
class Result:
    """What the model is told, and what the call does after the reply was heard."""

    text: str
    ok: bool = True
    then: Transfer | EndCall | None = None


class Toolbox:
    """The tools of one call. `lead` is what they have saved."""

    def __init__(self, business: Business, context: CallContext, clock: Callable[[], datetime]) -> None:
        self._business = business
        self._context = context
        self._clock = clock
        self.lead = LeadDraft()

    def use(self, name: str, arguments: str, *, turn: int, quote: str) -> Result:
        """Run the tool. Never raises for what a model can get wrong: the result says what is wrong."""
        tool = BY_NAME.get(name)
        if tool is None:
            return Result(f"There is no tool {name!r}. Tools: {', '.join(BY_NAME)}.", ok=False)
        try:
            given = tool.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors())
            return Result(f"Not done, the arguments are wrong: {wrong}", ok=False)
        match given:
            case SaveLead():
                return self._save(given, turn, quote)
            case LookUpCaller():
                return self._look_up()
            case OpeningHours():
                now = self._clock()
                state = "פתוח עכשיו" if self._business.is_open(now) else "סגור עכשיו"
                return Result(f"{state}. {self._business.hours_text(now)}")
            case SendDetails(channel=channel, agreed=agreed):
                self._keep(wishes.DETAILS[channel], wishes.YES if agreed else "לא", turn, quote)
                return Result("They will be sent after the call." if agreed else "Noted: nothing is sent.")
            case DoNotContact():
                self._keep(wishes.OPT_OUT, wishes.YES, turn, quote)
                return Result("They are removed. Say so, and goodbye.", then=EndCall("opted_out"))
            case TransferToPerson(reason=reason):
                return self._transfer(reason)
            case EndConversation(reason=reason):
                return Result("The call ends after your goodbye.", then=EndCall(reason))
            case _:
                raise AssertionError(given)

    def _save(self, given: SaveLead, turn: int, quote: str) -> Result:
        told = given.model_dump(exclude_none=True)
        phone = told.pop("phone", None)
        confirmed = bool(told.pop("phone_confirmed", False))
        problems = []
        bad_phone = False
        if phone is not None:
            e164 = to_e164(phone)
            bad_phone = e164 is None
            if e164 is None:
                problems.append(f"{phone!r} is not an Israeli phone number: ask the caller to repeat it slowly")
            else:
                told["phone"] = e164
        extra, wrong = self._details(told)
        problems += wrong
        when = self._moment(told["best_time"]) if "best_time" in told else None
        if when and when.past:
            problems.append(_PAST)
        sources = dict(self.lead.sources)
        for key in extra:
            sources[f"extra.{key}"] = FieldSource(turn, quote, _HEARD_CONFIDENCE)
        for field in told:
            sure = _CONFIRMED_CONFIDENCE if field == "phone" and confirmed else _HEARD_CONFIDENCE
            sources[field] = FieldSource(turn, quote, sure)
        self.lead = replace(
            self.lead,
            **told,
            extra={**self.lead.extra, **extra},
            sources=sources,
            phone_confirmed=self.lead.phone_confirmed or (confirmed and not bad_phone),
            callback_at=self._business.callback_at(when) if when else self.lead.callback_at,
        )
        if problems:
            return Result("; ".join(problems), ok=False)
        understood = [value for key, value in extra.items() if key == DATE]
        if when and when.precision > Precision.WORDS:
            understood.append(when.written)
        return Result("Saved." + "".join(f" Understood as {value}." for value in understood) + self._missing())

    def _keep(self, key: str, value: str, turn: int, quote: str) -> None:
        source = FieldSource(turn, quote, _CONFIRMED_CONFIDENCE)
        self.lead = replace(
            self.lead,
            extra={**self.lead.extra, key: value},
            sources={**self.lead.sources, f"extra.{key}": source},
        )

    def _details(self, told: dict[str, str]) -> tuple[dict[str, str], list[str]]:
        """What of `told` belongs to the lead's `extra`, taken out of it, and what is wrong with it."""
        extra: dict[str, str] = {}
        wrong: list[str] = []
        if number := told.pop("id_number", ""):
            if value := hear(ID, number).value:
                extra[ID_NUMBER] = value
            else:
                wrong.append(_NO_SUCH_ID)
        if number := told.pop("plate", ""):
            if value := hear(PLATE, number).value:
                extra[PLATE_NUMBER] = written(value)
            else:
                wrong.append(_NO_SUCH_PLATE)
        if place := told.pop("address", ""):
            found = address(place)
            if found:
                extra[ADDRESS] = found.written
            if not found or found.missing:
                wrong.append(_STILL[found.missing] if found else _NO_ADDRESS)
        if day := told.pop("date", ""):
            when = self._moment(day)
            if when and when.precision > Precision.WORDS:
                extra[DATE] = when.written
            else:
                wrong.append(_NO_DATE)
        return extra, wrong

    def _moment(self, text: str) -> Moment | None:
        """Hebrew words, or an ISO date with or without a time, which models like to make of them."""
        now = self._business.local(self._clock())
        try:
            then = datetime.fromisoformat(text)
        except ValueError:
            return moment(text, now)
        exact = then.time() != time.min or "T" in text
        return Moment(
            text,
            Precision.HOUR if exact else Precision.DAY,
            then.date(),
            start=then.time() if exact else None,
            exact=exact,
            past=then.replace(tzinfo=None) < now.replace(tzinfo=None) if exact else then.date() < now.date(),
            today=now.date(),
        )

    def _missing(self) -> str:
        missing = [name for name in ("name", "phone", "need", "best_time") if not getattr(self.lead, name)]
        return f" Still unknown: {', '.join(missing)}." if missing else " Everything is known: sum up and say goodbye."

    def _look_up(self) -> Result:
        known = self._context
        if not known.known_name:
            return Result("A new caller.")
        need = f" Last time: {known.last_need}." if known.last_need else ""
        return Result(f"A returning caller: {known.known_name}.{need}")

    def _transfer(self, reason: str) -> Result:
        number = self._business.transfer_number
        if not number:
            return Result("Nobody can take the call now: offer that someone calls back.", ok=False)
        if not self._business.is_open(self._clock()):
            return Result("The business is closed now: offer that someone calls back.", ok=False)
        return Result("They are connected after your sentence.", then=Transfer(number, reason))
