"""What Google Speech's answers mean (pure): its statuses, its results, and which model it takes for a language.

Kept apart from `stt.google`, which moves bytes, so that every string and every shape of an answer is tested in a line.
Messages are protobuf's or anything of the same shape; nothing here imports Google's library.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from moked.errors import Failure
from moked.stt import Final as FinalText
from moked.stt import Interim, Word

# The numbers of google.rpc.Code, for the status that may come inside a response.
_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)

# Statuses are too coarse here: what decides is in the text. First match wins.
_STRINGS: Final = (
    ("OUT_OF_RANGE", "maximum allowed stream duration", Failure.EXPIRED),  # v1: 305 seconds
    ("OUT_OF_RANGE", "audio timeout error", Failure.EXPIRED),  # starved for 10 seconds
    ("ABORTED", "max duration of", Failure.EXPIRED),  # v2: 5 minutes
    ("ABORTED", "no more client requests", Failure.EXPIRED),  # v2: starved
    ("RESOURCE_EXHAUSTED", "message larger than max", Failure.CONFIG),  # gRPC's own use of this status
    ("UNAVAILABLE", "refresherror", Failure.AUTH),  # the key was refused when gRPC's plug-in fetched a token
    ("UNAVAILABLE", "invalid_grant", Failure.AUTH),
)
_STATUSES: Final = {
    "OK": Failure.CLOSED,
    "INVALID_ARGUMENT": Failure.CONFIG,
    "FAILED_PRECONDITION": Failure.CONFIG,
    "NOT_FOUND": Failure.CONFIG,
    "UNIMPLEMENTED": Failure.CONFIG,
    "UNAUTHENTICATED": Failure.AUTH,
    "PERMISSION_DENIED": Failure.AUTH,
    "RESOURCE_EXHAUSTED": Failure.QUOTA,
    "DEADLINE_EXCEEDED": Failure.TIMEOUT,
    "DATA_LOSS": Failure.PROTOCOL,
}


def failure(status: str, text: str) -> Failure:
    """How a stream failed that ended with this gRPC status name and text, without our asking.

    All the rest is "died, cause unknown": 5xx, resets, pacing complaints ("Audio data is being streamed too fast"), and
    INTERNAL "Internal error from Core", which is gRPC's word for a write that came after the end.
    """
    lower = text.lower()
    for known, part, kind in _STRINGS:
        if status == known and part in lower:
            return kind
    return _STATUSES.get(status, Failure.UNAVAILABLE)


def status_name(code: int) -> str:
    """The name of a google.rpc.Code number."""
    return _CODES[code] if 0 <= code < len(_CODES) else "UNKNOWN"


def is_about_the_model(status: str, text: str) -> bool:
    """Whether another model may be taken where this one was refused.

    "Invalid recognition 'config': The phone_call model is currently not supported for language : iw-IL."
    """
    return status == "INVALID_ARGUMENT" and re.search(r"model|config", text, re.IGNORECASE) is not None


def is_unexplained(status: str, text: str) -> bool:
    """Whether this is gRPC's own word for a write after the end: the true status is lost."""
    return status == "INTERNAL" and "internal error from core" in text.lower()


class ModelLadder:
    """Models from most wanted to "whatever there is" (an empty name). The working rung is the process's.

    Google refuses `phone_call` for Hebrew; `default` and `command_and_search` are known to work (2026-11).
    """

    def __init__(self, configured: str) -> None:
        self._rungs = tuple(dict.fromkeys((configured, "default", "command_and_search", "")))
        self._rung = 0
        self.proven = False  # a stream was served on the current rung

    @property
    def current(self) -> str:
        return self._rungs[self._rung]

    def refused(self, model: str) -> str | None:
        """The model to take instead; None when all are refused, and then the next stream asks from the top."""
        at = self._rungs.index(model)
        if at < self._rung:  # another stream was refused before us and knows better already
            return self.current
        self.proven = False
        if at + 1 == len(self._rungs):
            self._rung = 0
            return None
        self._rung = at + 1
        return self.current

    def served(self, model: str) -> bool:
        """A stream on this model worked. True the first time."""
        if self.proven or model != self.current:
            return False
        self.proven = True
        return True


# Points and commas inside numbers and times (10:30, 3.5, 1,200) stay; so do quotes and hyphens, which are letters' own.
_PUNCTUATION: Final = re.compile(r"(?<!\d)[.,:]|[.,:](?!\d)|[;!?…׃]|(?<!\S)[-–—](?!\S)")


def plain(text: str) -> str:
    """`text` without punctuation between words, and with single spaces."""
    return " ".join(_PUNCTUATION.sub(" ", text).split())


def joined(parts: Iterable[str]) -> str:
    return " ".join(" ".join(parts).split())


class Results:
    """One stream's responses into the port's values, in call time.

    A response holds several results that make one hypothesis together: at most one final first, then interims from
    stable to unstable. Stability and confidence of 0.0 mean "not set".
    """

    def __init__(self, engine: str, origin_ms: int, *, plain_interims: bool, plain_finals: bool) -> None:
        self._engine = engine
        self._origin = origin_ms
        self._plain_interims = plain_interims
        self._plain_finals = plain_finals
        self._settled_ms = origin_ms

    def read(self, results: Sequence[Any], audio_end_ms: int) -> list[Interim | FinalText]:
        """`audio_end_ms`: call time up to which audio was sent; results end there at the latest."""
        out: list[Interim | FinalText] = []
        guess: list[Any] = []
        for result in results:
            if not result.alternatives:
                continue
            if result.is_final:
                final = self._final(result, audio_end_ms)
                if final is not None:
                    out.append(final)
            else:
                guess.append(result)
        if guess:
            text = joined(part.alternatives[0].transcript for part in guess)
            text = plain(text) if self._plain_interims else text
            if text:
                end = max(self._end(part, audio_end_ms) for part in guess)
                stability = min((part.stability for part in guess if part.stability > 0), default=0.0)
                out.append(Interim(text, min(self._settled_ms, end), end, stability, self._engine))
        return out

    def _final(self, result: Any, audio_end_ms: int) -> FinalText | None:
        best = result.alternatives[0]
        text = plain(best.transcript) if self._plain_finals else joined([best.transcript])
        end = self._end(result, audio_end_ms)
        words = words_of(best, self._origin)
        start = min(words[0].start_ms if words else self._settled_ms, end)
        self._settled_ms = max(self._settled_ms, end)
        return FinalText(text, start, end, best.confidence or None, self._engine, words) if text else None

    def _end(self, result: Any, audio_end_ms: int) -> int:
        offset = millis(result.result_end_time)
        return min(self._origin + offset, audio_end_ms) if offset > 0 else audio_end_ms


def words_of(alternative: Any, origin_ms: int) -> tuple[Word, ...]:
    """The words of an alternative in call time; Google gives them for finals, in steps of 100 ms."""
    return tuple(
        Word(word.word, origin_ms + millis(word.start_time), origin_ms + millis(word.end_time))
        for word in alternative.words
    )


def millis(duration: Any) -> int:
    return int(duration.seconds * 1000 + duration.nanos // 1_000_000)
