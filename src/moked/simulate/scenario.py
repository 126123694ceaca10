"""What the simulated caller does: the steps of a scenario, and the pure machine that acts them out frame by frame.

By default a caller is polite: waits until the agent has spoken since the last line and has been silent for `quiet_ms`,
then says the next one; who gets no answer goes on after `patience_ms`. After the last line the caller waits for the
agent to finish, lingers so that the agent can hang up first, and hangs up.

    Say("שלום, נוזל לי הברז")          when the agent is done
    Say("אה, ועוד משהו", after=300)     300 ms after the previous line, whatever the agent does
    CutIn("רגע, לא", after_ms=800)      when the agent has been speaking for 800 ms
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from moked.audio import FRAME_BYTES, FRAME_MS, SILENCE
from moked.simulate.echo import EchoPath
from moked.simulate.measure import AgentVoice, Line, voiced_span

After = Literal["agent_done", "immediately"] | int
Speak = Callable[[str], bytes]
"""Text to mu-law 8 kHz: the caller's voice."""

SILENT_FRAME: Final = SILENCE * FRAME_BYTES
KEY_MS: Final = 200
"""Between two key presses."""

KEYS: Final = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class Say:
    """Speak `audio` (mu-law), or `text` made audio by `render`. `after`: the agent, or ms since the previous step."""

    text: str = ""
    audio: bytes = field(default=b"", repr=False)
    after: After = "agent_done"


@dataclass(frozen=True, slots=True)
class CutIn:
    """Speak while the agent does, `after_ms` into its reply. Said when the agent is done if the reply was shorter."""

    text: str = ""
    audio: bytes = field(default=b"", repr=False)
    after_ms: int = 800


@dataclass(frozen=True, slots=True)
class Dtmf:
    digits: str
    after: After = "agent_done"


@dataclass(frozen=True, slots=True)
class Wait:
    """Say nothing for `ms` after the previous step."""

    ms: int


@dataclass(frozen=True, slots=True)
class HangUp:
    after: After = "immediately"


Step = Say | CutIn | Dtmf | Wait | HangUp


def render(steps: Iterable[Step], speak: Speak, progress: Callable[[int, int], None] | None = None) -> tuple[Step, ...]:
    """The same steps with audio in every line that has only text. `speak` is called once for each different text."""
    steps = tuple(steps)
    texts = dict.fromkeys(step.text for step in steps if isinstance(step, Say | CutIn) and not step.audio)
    spoken = {}
    for done, text in enumerate(texts, start=1):
        spoken[text] = speak(text) if text else b""
        if progress is not None:
            progress(done, len(texts))
    return tuple(
        replace(step, audio=spoken[step.text]) if isinstance(step, Say | CutIn) and not step.audio else step
        for step in steps
    )


@dataclass(frozen=True, slots=True)
class Manners:
    """How long the caller listens before acting, in ms. `echo`: their telephone returns what it plays."""

    quiet_ms: int = 700
    patience_ms: int = 15_000
    linger_ms: int = 1_000
    echo: EchoPath | None = None


class Caller:
    """The caller's mouth, fingers and patience. Ask it for every frame, in order; `voice` is what it hears.

    `hung_up` is empty until the caller is through: 'step' (the scenario says so), 'done' (the last line was answered),
    'no_answer' (it was not).
    """

    def __init__(self, steps: Sequence[Step], voice: AgentVoice, manners: Manners = Manners()) -> None:
        for step in steps:
            if isinstance(step, Dtmf) and not set(step.digits) <= KEYS:
                raise ValueError(f"{step.digits!r} has keys a telephone does not have")
        self._steps = tuple(steps)
        self._voice = voice
        self._manners = manners
        self._index = 0
        self._since = 0  # when the previous step was over
        self._spoke = -1  # the caller's last sound: what the agent says after it is the answer
        self._line: Say | CutIn | None = None
        self._offset = 0
        self._keys = ""
        self._lines: list[Line] = []
        self._said: list[tuple[int, bytes]] = []
        self.hung_up = ""

    @property
    def echo(self) -> EchoPath | None:
        return self._manners.echo

    @property
    def lines(self) -> tuple[Line, ...]:
        """What was said or pressed, with times."""
        return tuple(self._lines)

    @property
    def said(self) -> tuple[tuple[int, bytes], ...]:
        """Each spoken line's audio with the call ms of its first sample."""
        return tuple(self._said)

    def frame(self, now: int) -> tuple[bytes, str]:
        """The caller's 20 ms from `now` on, and the keys pressed at `now`, usually none."""
        keys = self._act(now) if self._line is None and not self.hung_up else ""
        if self._line is None:
            return SILENT_FRAME, keys
        audio = self._line.audio[self._offset : self._offset + FRAME_BYTES]
        self._offset += FRAME_BYTES
        if self._offset >= len(self._line.audio):
            self._line = None
            self._over(now + FRAME_MS)
            audio = audio.ljust(FRAME_BYTES, SILENCE)
        return audio, keys

    def _act(self, now: int) -> str:
        """Begin every step whose time has come; returns a key to press."""
        while self._index < len(self._steps):
            step = self._steps[self._index]
            match step:
                case Wait(ms):
                    if now - self._since < ms:
                        return ""
                    self._over(self._since + ms)
                case HangUp(after):
                    if self._time_for(after, now):
                        self.hung_up = "step"
                    return ""
                case Dtmf(digits, after):
                    return self._press(digits, after, now)
                case Say(after=after):
                    if not self._time_for(after, now):
                        return ""
                    self._begin(step, now)
                    if self._line is not None:
                        return ""
                case CutIn(after_ms=after_ms):
                    if not self._time_to_cut_in(after_ms, now):
                        return ""
                    self._begin(step, now)
                    if self._line is not None:
                        return ""
        if self._done(now, extra=self._manners.linger_ms):
            self.hung_up = "done"
        elif self._out_of_patience(now):
            self.hung_up = "no_answer"
        return ""

    def _begin(self, step: Say | CutIn, now: int) -> None:
        if not step.audio:  # a line nobody can hear is over at once
            self._over(now)
            return
        start, end = voiced_span(step.audio)
        kind = "cut_in" if isinstance(step, CutIn) else "say"
        self._lines.append(Line(len(self._lines) + 1, kind, step.text, now + start, now + end, self._speaking(now)))
        self._said.append((now, step.audio))
        self._spoke = now + end
        self._line, self._offset = step, 0

    def _press(self, digits: str, after: After, now: int) -> str:
        if not self._keys:
            if not digits:
                self._over(now)
                return ""
            if not self._time_for(after, now):
                return ""
            self._keys = digits
            last = now + KEY_MS * (len(digits) - 1)
            self._lines.append(Line(len(self._lines) + 1, "dtmf", digits, now, last, self._speaking(now)))
            self._spoke = last
        elif now - self._since < KEY_MS:
            return ""
        key, self._keys = self._keys[0], self._keys[1:]
        self._since = now
        if not self._keys:
            self._over(now)
        return key

    def _over(self, at: int) -> None:
        self._since = at
        self._index += 1

    def _time_for(self, after: After, now: int) -> bool:
        match after:
            case "immediately":
                return True
            case "agent_done":
                return self._done(now) or self._out_of_patience(now)
            case _:
                return now - self._since >= after

    def _time_to_cut_in(self, after_ms: int, now: int) -> bool:
        began = self._voice.voice_since(self._spoke)
        if began is not None and now >= began + after_ms and self._speaking(now):
            return True
        return self._done(now) or self._out_of_patience(now)

    def _speaking(self, now: int) -> bool:
        since = self._voice.voice_since(now)
        return since is not None and since <= now

    def _done(self, now: int, extra: int = 0) -> bool:
        """The agent has spoken since the caller did, and has been silent long enough."""
        last = self._voice.last_voice_ms
        return last is not None and last > self._spoke and now - last >= self._manners.quiet_ms + extra

    def _out_of_patience(self, now: int) -> bool:
        return now - max(self._since, self._voice.last_voice_ms or 0) >= self._manners.patience_ms
