"""What Google Speech's answers mean (pure), on API v1 and v2: its statuses, its results, and which model it takes.

Kept apart from the files that move bytes, so that every string and every shape of an answer is tested in a line.
Messages are protobuf's or anything of the same shape; nothing here imports Google's library.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from moked.errors import Failure
from moked.stt import Final as FinalText
from moked.stt import Interim, Word

Api = Literal["v1", "v2"]

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
    ("PERMISSION_DENIED", "no longer generally available", Failure.CONFIG),  # a model v2 has closed, not our key
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

    v1: "Invalid recognition 'config': The phone_call model is currently not supported for language : iw-IL."
    v2: "The model "chirp_2" does not exist in the location named "global".", 'The language "iw-IL" is not supported by
    the model "long" ...', and "Permission denied for project 1 on model chirp_3 locale iw-IL. It is no longer generally
    available.", which is no matter of the key.
    """
    lower = text.lower()
    if status == "PERMISSION_DENIED":
        return "no longer generally available" in lower
    return status == "INVALID_ARGUMENT" and ("model" in lower or "config" in lower)


# What v2 calls a feature, by a part of its name, and ours. Chirp 3 refuses words, telephony the boost of hints.
_FEATURES: Final = (
    *(("boost", "boost"), ("adaptation", "hints"), ("phrase", "hints"), ("word", "words")),
    ("punctuation", "punctuation"),
)
_ALL_FEATURES: Final = frozenset({"hints", "words", "punctuation"})


def refused_features(status: str, text: str) -> frozenset[str]:
    """What can be left out where v2 refused it: 'boost', 'hints', 'words', 'punctuation'. Empty when it is not that.

    "Recognizer does not support feature: speech_adaptation_boost"; where it does not say which ("Config contains
    unsupported fields"), all that recognition can do without.
    """
    lower = text.lower()
    if status != "INVALID_ARGUMENT":
        return frozenset()
    _, found, feature = lower.partition("does not support feature")
    if found:
        known = next((ours for part, ours in _FEATURES if part in feature), None)
        return frozenset({known}) if known else _ALL_FEATURES
    return _ALL_FEATURES if "unsupported fields" in lower else frozenset()


def is_unexplained(status: str, text: str) -> bool:
    """Whether this is gRPC's own word for a write after the end: the true status is lost."""
    return status == "INTERNAL" and "internal error from core" in text.lower()


def is_broken(status: str, text: str) -> bool:
    """Whether a connection that looked alive was found dead by this very write."""
    return status == "UNAVAILABLE" and any(part in text.lower() for part in ("broken pipe", "connection reset"))


# Below the configured model. v1: `phone_call` is refused for Hebrew; `default` and `command_and_search` are known to
# work (2026-11); an empty name is "whatever there is". v2 wants a name. There the models that say what they hear while
# it is said come first, then Chirp, which is better and tells little before the end and lives in some locations only;
# `short` ends at the first pause, so it is better than nothing.
V1_MODELS: Final = ("default", "command_and_search", "")
V2_MODELS: Final = ("telephony", "long", "chirp_3", "chirp_2", "short")
# v1's names for what v2 calls otherwise: so that the setting can stay when the API is changed.
_V2_NAMES: Final = {"phone_call": "telephony", "default": "long", "command_and_search": "short"}
_V2_NAMES.update(latest_long="long", latest_short="short")
LOCATIONS: Final = ("global", "us", "eu", "us-central1", "europe-west4")  # where v2 is worth asking


def models(api: Api, configured: str) -> tuple[str, ...]:
    """The models to try, most wanted first."""
    if api == "v1":
        return tuple(dict.fromkeys((configured, *V1_MODELS)))
    return tuple(dict.fromkeys((_V2_NAMES.get(configured, configured), *V2_MODELS)))


def language(api: Api, configured: str) -> str:
    """v1 takes he-IL; v2 knows Hebrew by its older name. (Both answer iw-IL: the answer is compared with neither.)"""
    return "iw-IL" if api == "v2" and configured.lower() in {"he", "he-il"} else configured


def host(location: str) -> str:
    """The server of a location; the global one refuses recognizers of another ("Expected resource location ...")."""
    return "speech.googleapis.com" if location == "global" else f"{location}-speech.googleapis.com"


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What Google said to one model: its own words where it was refused, and what had to be left out."""

    model: str
    accepted: bool
    words: str = ""
    without: frozenset[str] = frozenset()


class ModelLadder:
    """Models from most wanted to least, and what each cannot do. The working rung is the process's."""

    def __init__(self, *rungs: str) -> None:
        self.rungs = rungs
        self._rung = 0
        self._without: dict[str, frozenset[str]] = {}
        self.proven = False  # a stream was served on the current rung

    @property
    def current(self) -> str:
        return self.rungs[self._rung]

    @property
    def without(self) -> frozenset[str]:
        """The features that the current model refused."""
        return self._without.get(self.current, frozenset())

    def lacks(self, model: str, features: frozenset[str]) -> bool:
        """`model` refused these features, and is asked again without them. True when that is news."""
        before = self._without.get(model, frozenset())
        self._without[model] = before | features
        news = not features <= before
        if news and model == self.current:
            self.proven = False
        return news

    def refused(self, model: str) -> str | None:
        """The model to take instead; None when all are refused, and then the next stream asks from the top."""
        at = self.rungs.index(model)
        if at < self._rung:  # another stream was refused before us and knows better already
            return self.current
        self.proven = False
        if at + 1 == len(self.rungs):
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


@dataclass(frozen=True, slots=True)
class Shape:
    """What the two APIs name differently in a result."""

    end: str
    word_start: str
    word_end: str


SHAPES: Final[dict[Api, Shape]] = {
    "v1": Shape("result_end_time", "start_time", "end_time"),
    "v2": Shape("result_end_offset", "start_offset", "end_offset"),
}


class Results:
    """One stream's responses into the port's values, in call time.

    A response holds several results that make one hypothesis together: at most one final first, then interims from
    stable to unstable. Stability and confidence of 0.0 mean "not set".
    """

    def __init__(
        self, engine: str, origin_ms: int, *, plain_interims: bool, plain_finals: bool, api: Api = "v1"
    ) -> None:
        self._engine = engine
        self._origin = origin_ms
        self._plain_interims = plain_interims
        self._plain_finals = plain_finals
        self._settled_ms = origin_ms
        self._shape = SHAPES[api]

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
        words = words_of(best, self._origin, self._shape)
        start = min(words[0].start_ms if words else self._settled_ms, end)
        self._settled_ms = max(self._settled_ms, end)
        return FinalText(text, start, end, best.confidence or None, self._engine, words) if text else None

    def _end(self, result: Any, audio_end_ms: int) -> int:
        offset = millis(getattr(result, self._shape.end))
        return min(self._origin + offset, audio_end_ms) if offset > 0 else audio_end_ms


def words_of(alternative: Any, origin_ms: int, shape: Shape = SHAPES["v1"]) -> tuple[Word, ...]:
    """The words of an alternative in call time; Google gives them for finals, in steps of 100 ms."""
    return tuple(
        Word(
            word.word,
            origin_ms + millis(getattr(word, shape.word_start)),
            origin_ms + millis(getattr(word, shape.word_end)),
        )
        for word in alternative.words
    )


def millis(duration: Any) -> int:
    return int(duration.seconds * 1000 + duration.nanos // 1_000_000)
