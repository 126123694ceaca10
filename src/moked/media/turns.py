"""Turn taking (pure): who has the floor. Every rule about starting, committing, holding and cutting a reply lives here.

    open ----- silence ------> speculating -- hold over --> committed -- first audio --> audible -- all heard --> open
      ^  ^                         |                            |                          |
      |  '---- caller goes on -----'                            |                          |
      '------- caller goes on: the turn is re-opened -----------'                          |
      '------- barge-in confirmed (hold, confirm, cut) -------------------------------------'

Methods take `now` (call ms) and return actions in order; the shell carries them out and decides nothing. `deadline` is
when `tick` must be called if nothing else happens. A reply is begun speculatively: nothing of it is heard and
nothing it does lasts before its `Commit`. A turn that is re-opened keeps its number: the next `Begin` of it replaces
the former one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from moked.dialog import Expect, slots
from moked.dialog.endings import Ending
from moked.media.endpoint import Hold, Pace, hold
from moked.stt.transcripts import normalise

_NEVER = 1 << 62
_WORDS_MAY_LAG_MS = 250  # between the end of a recogniser's last word and our VAD's pause after it
_END_KNOWN_MS = 200  # after a last sound, at the latest
_NOISE_MS = 150  # no word is as short
_PICKUP = frozenset({"הלו", "אלו", "שלום", "כן", "היי"})  # what people say into a phone before they listen


@dataclass(frozen=True, slots=True)
class TurnPolicy:
    """All in ms. `hold_ms` is the silence that ends an ordinary sentence; `media.endpoint` bends it by what was
    said."""

    hold_ms: int = 550
    speculate_ms: int = 200
    early: int = 3  # replies begun in a turn at a mere pause, where the words look finished
    stable_ms: int = 120  # an interim must have stood this long before it is acted on
    transcript_wait_ms: int = 3000  # voiced audio without words: wait this long for the recogniser
    unheard_ms: int = 400  # less voiced audio than this without words is noise
    confirm_ms: int = 230  # speech this long over our voice silences us at once, and nothing is lost yet
    floor_ms: int = 1000  # speech this long takes the floor
    backchannel_ms: int = 1300  # ... also if all it says is "אהה"
    resume_ms: int = 300  # silence after unconfirmed speech before we go on
    speechlike_ms: int = 450  # what lasted this long has words:
    words_ms: int = 900  # ... we wait for them so long
    guard_ms: int = 1000  # the first moments of the greeting are not cut: callers say "הלו", and an echo is learned
    restart_ms: int = 300  # words that come late restart an answer of which no more than this was heard
    reopen_ms: int = 240  # speech this long between commit and our first sound re-opens the turn
    silence_ms: int = 8000  # nobody speaks: ask whether the caller is there
    stuck_ms: int = 2500  # the VAD says speech, but the words stopped changing this long ago
    hesitation_ms: int = 250  # a pause in mid-turn from here on says something about the caller
    dtmf_gap_ms: int = 2000  # digits end this long after the last one, or at '#'


@dataclass(frozen=True, slots=True)
class Begin:
    """Prepare a reply to this turn. Nothing of it may be heard or last before its `Commit`."""

    reply: int
    turn: int
    text: str = ""
    dtmf: str = ""
    silent: bool = False
    cut_in: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """The turn is over: the reply may be heard. `silence_ms` since the caller's last sound, `reason` for tuning."""

    reply: int
    turn: int
    reason: str
    silence_ms: int
    evidence: "Evidence | None" = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why the turn counted as over, beside the `Commit`'s reason; see `records.Decision`."""

    ending: str
    hold_ms: int
    pace_ms: int
    asked: str
    begun: int
    early: int
    reopened: int
    final: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Abandon the reply. What of it was heard stays in the history."""

    reply: int
    reason: str


@dataclass(frozen=True, slots=True)
class HoldAudio:
    """Stop feeding audio, discard nothing."""


@dataclass(frozen=True, slots=True)
class PauseAudio:
    """Silence at once: tell the carrier to clear, and keep what it had not played yet. We may still go on."""


@dataclass(frozen=True, slots=True)
class ResumeAudio:
    """Go on from the same syllable."""


@dataclass(frozen=True, slots=True)
class CutAudio:
    """The caller has the floor: discard what is queued, tell the carrier to clear."""

    reply: int


@dataclass(frozen=True, slots=True)
class Ignored:
    """These words did not take the floor (a back-channel); they are on record only."""

    text: str


Action = Begin | Commit | Cancel | HoldAudio | PauseAudio | ResumeAudio | CutAudio | Ignored


@dataclass(slots=True)
class _Reply:
    number: int
    turn: int
    text: str = ""
    dtmf: str = ""
    carried: str = ""  # the part of `text` from before the turn was re-opened
    committed: bool = False
    audible_at: int | None = None

    @property
    def audible(self) -> bool:
        return self.audible_at is not None


class TurnTaking:
    """One a call. Times given must not go back."""

    def __init__(self, policy: TurnPolicy) -> None:
        self._policy = policy
        self.may_guess = True  # false: no reply is begun at a mere pause, whatever the policy says
        self._expect = Expect.OPEN
        self._replies = 0
        self._turn = 0
        self._reply: _Reply | None = None
        self._held = False
        self._paused = False  # held, and silent already
        self._cut_in = False
        # The caller's side of the open turn:
        self._speaking = False
        self._noise = False  # a turn was over though the detector still says speech: only words count until it ends
        self._paused_at: int | None = None  # in mid-stretch: no voice since then, or at least there was a gap
        self._early = 0  # replies of this turn that were begun at a pause
        self._begun = 0  # all replies that were begun for it
        self._reopened = 0  # times it was taken to be over and was not
        self._stretch_start: int | None = None  # current or last voiced stretch, since the turn opened
        self._voiced_end = 0  # end of the last voiced stretch
        self._voiced_ms = 0
        self._text = ""
        self._carried = ""  # words of a re-opened turn
        self._carried_before = ""  # ... and those of them that were carried before
        self._text_end = 0  # how far into the audio the words reach
        self._text_at = 0  # when they last changed
        self._text_final = True
        self._dtmf = ""
        self._dtmf_at = 0
        self._waiting_since = 0  # since when it is the caller's turn to say something
        self._pace = Pace()
        self._hesitated = False  # in the open turn
        self._deaf = False  # nobody can hear the caller: only keys count
        self._announcing = False  # we have something to say that nobody asked for

    # --- what others may know

    @property
    def replying(self) -> bool:
        """A committed reply is being prepared or heard."""
        return self._reply is not None and self._reply.committed

    @property
    def caller_speaking(self) -> bool:
        return self._speaking

    @property
    def turn(self) -> int:
        """Number of the open turn, or of the one being answered; 0 is the greeting."""
        return self._turn

    @property
    def open_turn(self) -> int:
        """Number of the turn that the caller's next words belong to."""
        reply = self._reply
        return max(1, reply.turn + 1 if reply is not None and reply.committed else self._turn)

    @property
    def carried(self) -> str:
        """Words of the open turn from before it was re-opened; the recognizer's come after them."""
        return self._carried

    @property
    def text(self) -> str:
        """The open turn's words so far."""
        return _join(self._carried, self._text)

    # --- news

    def greet(self, now: int) -> Sequence[Action]:
        """The call begins with our greeting: turn 0."""
        self._replies += 1
        self._reply = _Reply(self._replies, 0, committed=True)
        self._waiting_since = now
        return (Begin(self._replies, 0), Commit(self._replies, 0, "greeting", 0))

    def expect(self, now: int, what: Expect) -> Sequence[Action]:
        """The committed reply asks for `what`."""
        self._expect = what
        return self._advance(now)

    def speech_started(self, now: int, at: int) -> Sequence[Action]:
        """The VAD hears speech since `at`."""
        if not self._speaking:
            if self._voiced_ms and at - self._voiced_end >= self._policy.hesitation_ms and not self.replying:
                self._hesitated = True
                self._pace.hesitated(at - self._voiced_end)
            self._speaking = True
            self._noise = False
            self._paused_at = None
            self._stretch_start = at
        return self._advance(now)

    def speech_paused(self, now: int, at: int) -> Sequence[Action]:
        """No voice since `at`: a gap between words, or the end."""
        if self._speaking:
            self._paused_at = at
        return self._advance(now)

    def speech_ended(self, now: int, at: int) -> Sequence[Action]:
        """The last voiced sound was at `at`."""
        if self._speaking:
            self._speaking = self._noise = False
            self._paused_at = None
            self._voiced_end = at
            if self._stretch_start is not None:
                self._voiced_ms += max(0, at - self._stretch_start)
        return self._advance(now)

    def heard(self, now: int, text: str, *, end: int, final: bool) -> Sequence[Action]:
        """The open turn reads `text` now, for audio up to `end`; `final` if no part of it is an interim."""
        if text != self._text:
            self._text, self._text_at = text, now
        self._text_end = max(self._text_end, end)
        self._text_final = final
        return self._advance(now)

    def corrected(self, now: int, text: str) -> Sequence[Action]:
        """A late final: the words that were committed read `text`. Answered anew if next to nothing of the answer was
        heard."""
        reply = self._reply
        if reply is None or not reply.committed:
            if self._carried:  # the turn was re-opened since
                self._carried = _join(self._carried_before, text)
            return self._advance(now)
        if not reply.text or (reply.audible_at is not None and now > reply.audible_at + self._policy.restart_ms):
            return ()
        if not normalise(text).startswith(normalise(reply.carried)):  # else the final has the carried words as well
            text = _join(reply.carried, text)
        if _same(text, reply.text):
            return ()
        actions: list[Action] = [CutAudio(reply.number)] if reply.audible else []
        actions += [*self._release(), Cancel(reply.number, "corrected")]
        self._reply = None
        self._carried = reply.carried
        began = self._begin(text=text, dtmf=reply.dtmf)
        self._reply_now.committed = True
        self._carried = ""
        return (*actions, began, self._committed(began.reply, "corrected", now - self._voiced_end))

    def heard_again(self, now: int, turn: int) -> Sequence[Action]:
        """Another engine read the words of `turn` otherwise: an answer that nobody heard yet is made anew. The words
        stay what they are; weighing the two readings is the agent's."""
        reply = self._reply
        if reply is None or reply.turn != turn or reply.audible or not reply.text:
            return ()
        self._reply = None
        if not reply.committed:
            return (Cancel(reply.number, "heard_again"), self._begin(text=reply.text), *self._advance(now))
        actions = (*self._release(), Cancel(reply.number, "heard_again"))
        kept, self._carried = self._carried, reply.carried
        began = self._begin(text=reply.text, dtmf=reply.dtmf)
        self._reply_now.committed = True
        self._carried = kept
        return (*actions, began, self._committed(began.reply, "heard_again", now - self._voiced_end))

    def recognizer_changed(self, now: int) -> Sequence[Action]:
        """Another engine hears the caller: what was being said will come again from it, in its own time."""
        self._text_end = 0
        return self._advance(now)

    def hearing_lost(self, now: int) -> Sequence[Action]:
        """Nobody hears the caller any more. We say so as soon as the floor is free; until it is back, only keys take
        the floor: speech that cannot be understood must not keep the caller from hearing what is offered."""
        self._deaf = self._announcing = True
        return self._advance(now)

    def hearing_back(self, now: int) -> Sequence[Action]:
        """The caller is heard again, and told so, unless there are words to answer already."""
        self._deaf, self._announcing = False, not self.text
        return self._advance(now)

    def dtmf(self, now: int, digit: str) -> Sequence[Action]:
        """A key was pressed. It always has the floor."""
        self._dtmf += digit
        self._dtmf_at = now
        return (*self._take_floor(now, "dtmf"), *self._advance(now))

    def reply_audible(self, now: int, reply: int) -> Sequence[Action]:
        """The first audio of the reply is on its way."""
        if self._reply is not None and self._reply.number == reply and not self._reply.audible:
            self._reply.audible_at = now
            return self._advance(now)
        return ()

    def reply_finished(self, now: int, reply: int) -> Sequence[Action]:
        """All of the reply was heard, or there was nothing to hear."""
        if self._reply is None or self._reply.number != reply:
            return ()
        self._turn = self._reply.turn + 1
        self._reply = None
        self._begun = self._reopened = 0
        self._waiting_since = now
        return (*self._release(), *self._advance(now))

    def tick(self, now: int) -> Sequence[Action]:
        return self._advance(now)

    # --- the rules

    def _advance(self, now: int) -> Sequence[Action]:
        reply = self._reply
        if reply is not None and reply.committed:
            return self._over_our_voice(now, reply)
        return self._open_turn(now, reply)

    def _open_turn(self, now: int, reply: _Reply | None) -> Sequence[Action]:
        if self._dtmf:
            if self._dtmf.endswith("#") or now >= self._dtmf_at + self._policy.dtmf_gap_ms:
                return (*self._drop(reply, "dtmf"), *self._commit(now, "dtmf", dtmf=self._dtmf))
            return ()
        if self._announcing:
            self._announcing = False
            return (*self._drop(reply, "announcement"), *self._commit(now, "announcement", silent=True))
        if self._talking and not (self._may_be_stuck and now >= self._text_at + self._policy.stuck_ms):
            return self._while_speaking(reply)
        text = self.text
        if text:
            return self._answer_words(now, text, reply)
        if reply is not None:
            return (*self._drop(reply, "text_changed"), *self._advance(now))
        if self._voiced_ms >= self._policy.unheard_ms:
            if now >= self._voiced_end + self._policy.transcript_wait_ms:
                return self._commit(now, "unheard")
            return ()
        if now >= self._silence_due():
            return self._commit(now, "silence", silent=True)
        return ()

    def _while_speaking(self, reply: _Reply | None) -> Sequence[Action]:
        """At a pause a reply may be begun before the stretch has ended: the caller may have said all."""
        text = self.text
        if reply is not None and self._paused_at is not None and _same(reply.text, text):
            return ()
        dropped = self._drop(reply, "caller_goes_on")
        if not self._looks_finished(text):
            return dropped
        self._early += 1
        return (*dropped, self._begin(text=text))

    def _looks_finished(self, text: str) -> bool:
        if self._paused_at is None or not text or not self.may_guess or self._early >= self._policy.early:
            return False
        if abs(self._text_end - self._paused_at) > _WORDS_MAY_LAG_MS:
            return False  # words are owed, or they are from after the pause: the caller went on
        return self._hold(text).ending is not Ending.OPEN

    def _hold(self, text: str) -> Hold:
        return hold(text, self._expect, self._policy.hold_ms, self._pace.ms)

    def _answer_words(self, now: int, text: str, reply: _Reply | None) -> Sequence[Action]:
        actions: list[Action] = []
        if reply is not None and not _same(reply.text, text):
            actions += self._drop(reply, "text_changed")
            reply = None
        due = self._words_due(text)
        if now < due.speculate:
            return actions
        if reply is None:
            began = self._begin(text=text)
            actions.append(began)
        if now >= due.commit:
            current = self._reply_now
            current.committed = True
            actions.append(self._committed(current.number, due.reason, now - due.since, due.bent, final=due.final))
            self._opened()
        return actions

    def _words_due(self, text: str) -> "_Due":
        """When to speculate on and when to commit `text`, if nothing changes."""
        policy = self._policy
        since = self._voiced_end if self._stretch_start is not None and not self._speaking else self._text_at
        bent = self._hold(text)
        speculate, commit = since + policy.speculate_ms, since + bent.ms
        if not self._covered():
            wait = self._voiced_end + policy.transcript_wait_ms
            return _Due(wait, max(commit, wait), since, "late_words", bent, self._text_final)
        if not self._text_final:
            speculate, commit = max(speculate, self._text_at), max(commit, self._text_at + policy.stable_ms)
        return _Due(speculate, max(speculate, commit), since, bent.reason, bent, self._text_final)

    def _covered(self) -> bool:
        """Do the words reach into the last voiced stretch? If not, the recogniser still owes us some."""
        if self._stretch_start is None or self._speaking:
            return True
        length = self._voiced_end - self._stretch_start
        return self._text_end >= self._stretch_start + min(200, length // 2) or length < _NOISE_MS

    def _over_our_voice(self, now: int, reply: _Reply) -> Sequence[Action]:
        """The caller makes a sound while we think or speak: hold, then cut or go on."""
        if self._deaf:
            self._forget_caller()
            return self._release()
        if now < self._guarded_until(reply):
            return ()
        if self._text and not self._is_backchannel(reply, self._text):
            return (*self._take_floor(now, "words"), *self._advance(now))
        if self._talking:
            if now >= self._floor_due(reply):
                return (*self._take_floor(now, "speech"), *self._advance(now))
            actions: list[Action] = []
            if not self._held:
                self._held = True
                actions.append(HoldAudio())
            if not self._paused and now >= self._pause_due(reply):
                self._paused = True
                actions.append(PauseAudio())
            return actions
        if now < self._resume_due():
            return ()
        actions = self._release()
        if self._text:
            actions.append(Ignored(self._text))
        self._forget_caller()
        return actions

    def _pause_due(self, reply: _Reply) -> int:
        """When speech that goes on silences us; after a gap once it is known to be no end. Before our first sound there
        is nothing to silence."""
        assert self._stretch_start is not None
        if not reply.audible:
            return _NEVER
        gap = self._paused_at + _END_KNOWN_MS if self._paused_at is not None else 0
        return max(self._stretch_start + self._policy.confirm_ms, gap)

    def _resume_due(self) -> int:
        """When we go on after speech that did not take the floor: at once where its words are known to be none that
        would."""
        if self._text:
            return self._voiced_end
        policy = self._policy
        length = self._voiced_end - self._stretch_start if self._stretch_start is not None else 0
        return self._voiced_end + (policy.words_ms if length >= policy.speechlike_ms else policy.resume_ms)

    def _guarded_until(self, reply: _Reply) -> int:
        """Only the greeting is guarded; one that nobody heard yet is not cut at all."""
        if reply.turn > 0:
            return 0
        return reply.audible_at + self._policy.guard_ms if reply.audible_at is not None else _NEVER

    def _floor_due(self, reply: _Reply) -> int:
        """When speech that goes on without words takes the floor."""
        assert self._stretch_start is not None
        if self._text:
            return self._stretch_start + self._policy.backchannel_ms
        return self._stretch_start + (self._policy.floor_ms if reply.audible else self._policy.reopen_ms)

    def _take_floor(self, now: int, reason: str) -> tuple[Action, ...]:
        """After our first sound the caller opens a new turn, before it the old one goes on."""
        reply = self._reply
        if reply is None or not reply.committed:
            return ()
        self._reply = None
        if reason == "words" and reply.audible_at is not None and self._are_late(now, reply.audible_at) and reply.turn:
            self._held = self._paused = False
            self._reopen(reply)
            return (CutAudio(reply.number), Cancel(reply.number, "went_on_late"))
        if reply.audible or reply.turn == 0:
            self._held = self._paused = False
            self._cut_in = True
            self._turn = reply.turn + 1
            self._begun = self._reopened = 0
            return (CutAudio(reply.number), Cancel(reply.number, f"barge_in_{reason}"))
        self._reopen(reply)
        return (*self._release(), Cancel(reply.number, f"went_on_{reason}"))

    def _reopen(self, reply: _Reply) -> None:
        """The turn goes on: what was said and pressed so far comes before what is said and pressed now."""
        self._carried, self._carried_before = reply.text, reply.carried
        self._dtmf = reply.dtmf.rstrip("#") + self._dtmf if self._dtmf else reply.dtmf
        self._reopened += 1

    def _are_late(self, now: int, audible_at: int) -> bool:
        """Nobody has spoken since the commit, and next to nothing of the answer was heard: the words are the rest of
        the turn that it answers."""
        return self._stretch_start is None and now <= audible_at + self._policy.restart_ms

    def _is_backchannel(self, reply: _Reply, text: str) -> bool:
        if reply.turn == 0 and set(normalise(text).split()) <= _PICKUP:
            return True
        return self._expect is not Expect.YES_NO and slots.back_channel(text)

    @property
    def _talking(self) -> bool:
        return self._speaking and not self._noise

    @property
    def _may_be_stuck(self) -> bool:
        """Speech goes on though the recogniser reached into it: if it has nothing new for long, it is noise."""
        return bool(self._text) and self._stretch_start is not None and self._text_end > self._stretch_start + 300

    # --- small steps

    @property
    def _reply_now(self) -> _Reply:
        assert self._reply is not None
        return self._reply

    def _begin(self, *, text: str = "", dtmf: str = "", silent: bool = False) -> Begin:
        self._replies += 1
        self._begun += 1
        self._reply = _Reply(self._replies, self._turn, text, dtmf, self._carried)
        return Begin(self._replies, self._turn, text, dtmf, silent, self._cut_in)

    def _commit(self, now: int, reason: str, *, dtmf: str = "", silent: bool = False) -> Sequence[Action]:
        began = self._begin(text=self.text, dtmf=dtmf, silent=silent)
        self._reply_now.committed = True
        since = max(self._voiced_end, self._dtmf_at, self._waiting_since if silent else 0)
        commit = self._committed(began.reply, reason, now - since)
        self._opened()
        return (began, commit)

    def _committed(
        self, reply: int, reason: str, silence_ms: int, bent: Hold | None = None, *, final: bool = True
    ) -> Commit:
        evidence = Evidence(
            ending=bent.ending.value if bent is not None else "",
            hold_ms=bent.ms if bent is not None else 0,
            pace_ms=self._pace.ms,
            asked=self._expect.value,
            begun=self._begun,
            early=self._early,
            reopened=self._reopened,
            final=final,
        )
        return Commit(reply, self._reply_now.turn, reason, silence_ms, evidence)

    def _opened(self) -> None:
        """A turn was committed: its words are the reply's now."""
        self._noise = self._speaking
        self._forget_caller()
        self._early = 0
        if not self._hesitated:
            self._pace.fluent()
        self._hesitated = False
        self._carried = ""
        self._cut_in = False

    def _forget_caller(self) -> None:
        self._text = ""
        self._text_final = True
        self._dtmf = ""
        self._voiced_ms = 0
        if not self._talking:
            self._stretch_start = None

    def _drop(self, reply: _Reply | None, reason: str) -> list[Action]:
        if reply is None:
            return []
        self._reply = None
        return [Cancel(reply.number, reason)]

    def _release(self) -> list[Action]:
        if not self._held:
            return []
        self._held = self._paused = False
        return [ResumeAudio()]

    def _silence_due(self) -> int:
        last = max(self._waiting_since, self._voiced_end, self._dtmf_at)
        return last + self._policy.silence_ms

    @property
    def deadline(self) -> int | None:
        """When `tick` must run next. None only while the caller's next sound, or our own reply, will tell."""
        reply = self._reply
        if reply is not None and reply.committed:
            return self._floor_deadline(reply)
        if self._dtmf:
            return self._dtmf_at + self._policy.dtmf_gap_ms
        if self._talking:
            return self._text_at + self._policy.stuck_ms if self._may_be_stuck else None
        if self.text:
            due = self._words_due(self.text)
            return due.speculate if reply is None else due.commit
        if self._voiced_ms >= self._policy.unheard_ms:
            return self._voiced_end + self._policy.transcript_wait_ms
        return self._silence_due()

    def _floor_deadline(self, reply: _Reply) -> int | None:
        guarded = self._guarded_until(reply)
        if guarded == _NEVER or self._deaf:
            return None
        if self._talking:
            if not self._held:
                return guarded
            due = self._floor_due(reply)
            return max(guarded, due if self._paused else min(due, self._pause_due(reply)))
        if self._held or self._text or self._stretch_start is not None:
            return max(guarded, self._resume_due())
        return None


@dataclass(frozen=True, slots=True)
class _Due:
    speculate: int
    commit: int
    since: int
    reason: str
    bent: Hold
    final: bool


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _same(one: str, other: str) -> bool:
    """Equal but for spaces and the punctuation a final adds."""
    return normalise(one) == normalise(other)
