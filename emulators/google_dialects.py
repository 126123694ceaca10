"""What Google Speech's API v1 and v2 say differently (pure): requests in, answers and refusals out.

    ask   = dialect.asked(request)          what the first message wants; raises `Refused` where it is malformed
    audio = dialect.audio(request)          what a later one brings
    dialect.refusal(ask, world)             Google's words where it does not serve that, or None
    dialect.interim(heard, ask), .final(...), .event(...), .billed(...), .whole(...)      answers

`World` is what this Google has. Which models of v2 know Hebrew we could not establish; here `telephony` does not, as
`phone_call` does not on v1, so that a client has to climb. v2 is taken to know Hebrew as iw-IL alone.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.cloud.speech_v1.types import cloud_speech as v1
from google.cloud.speech_v2.types import cloud_speech as v2

from emulators.listener import Heard, TimedWord

STREAM_LIMIT: Final = "Exceeded maximum allowed stream duration of 305 seconds."
AUDIO_TIMEOUT: Final = (
    "Audio Timeout Error: Long duration elapsed without audio. Audio should be sent close to real time."
)
TOO_LARGE: Final = "Request payload size exceeds the limit: {limit} bytes."
# Google answers he-IL with its older name, iw-IL, in results and in errors.
NO_MODEL: Final = (
    "Invalid recognition 'config': The {model} model is currently not supported for language : {language}."
)
V2_STREAM_LIMIT: Final = "Max duration of 5 minutes reached for stream."
V2_AUDIO_TIMEOUT: Final = "Stream timed out after receiving no more client requests."
V2_TOO_LARGE: Final = "Audio chunk can be of a a maximum of {limit} bytes. Received audio of {size} bytes instead."
V2_NO_MODEL: Final = 'The model "{model}" does not exist in the location named "{location}".'
V2_NO_LANGUAGE: Final = (
    'The language "{language}" is not supported by the model "{model}" in the location named "{location}".'
)
V2_NO_FEATURE: Final = "Recognizer does not support feature: {feature}"
V2_CLOSED: Final = (
    "Permission denied for project {project} on model {model} locale {language}. It is no longer generally available."
)
V2_MAX_MESSAGE: Final = 25_600

_RECOGNIZER: Final = re.compile(r"projects/([^/]+)/locations/([^/]+)/recognizers/_")


class Refused(Exception):
    """A call ends with this status."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class World:
    """What this Google has and refuses."""

    refused_models: frozenset[str] = frozenset(("phone_call", "latest_short", "latest_long"))  # v1, for Hebrew
    locations: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: {
            "global": frozenset(("telephony", "long", "short")),
            "us": frozenset(("telephony", "long", "short", "chirp_3")),
            "eu": frozenset(("telephony", "long", "short", "chirp_3")),
            "us-central1": frozenset(("telephony", "long", "short", "chirp_2")),
            "europe-west4": frozenset(("telephony", "long", "short", "chirp_2")),
        }
    )
    without_hebrew: frozenset[str] = frozenset(("telephony",))
    closed: frozenset[str] = frozenset()  # v2's models that are no longer generally available
    lacking: Mapping[str, frozenset[str]] = field(  # v2's model -> features it refuses
        default_factory=lambda: {"chirp_3": frozenset(("word_time_offsets",))}
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a recognition wants, in either API."""

    model: str
    language: str
    phrases: tuple[str, ...]
    boost: float
    punctuation: bool
    words: bool
    right_audio: bool  # mu-law, 8 kHz
    interim: bool = False
    events: bool = False
    location: str = ""
    project: str = ""


class Dialect:
    """What both have in common."""

    service: str
    Streaming: Any
    Whole: Any
    _Answer: Any
    _WholeAnswer: Any
    _audio: str
    _end: str
    _word_start: str
    _word_end: str
    _event_at: str
    stream_limit: tuple[str, str]
    audio_timeout: tuple[str, str]
    longest_s: float
    largest: int

    def asked(self, request: Any) -> Asked:
        raise NotImplementedError

    def whole_asked(self, request: Any) -> tuple[Asked, bytes]:
        raise NotImplementedError

    def refusal(self, asked: Asked, world: World) -> tuple[str, str] | None:
        raise NotImplementedError

    def too_large(self, size: int, limit: int) -> str:
        raise NotImplementedError

    def billed(self, answer: Any, seconds: int) -> None:
        raise NotImplementedError

    def audio(self, request: Any) -> bytes:
        if request.WhichOneof("streaming_request") != self._audio:
            raise Refused("INVALID_ARGUMENT", "Malformed request: only the first message may contain a config.")
        audio: bytes = getattr(request, self._audio)
        return audio

    def event(self, kind: str, at_ms: int) -> Any:
        answer = self._Answer()
        answer.speech_event_type = self._Answer.SpeechEventType.Value(f"SPEECH_ACTIVITY_{kind.upper()}")
        getattr(answer, self._event_at).FromMilliseconds(at_ms)
        return answer

    def interim(self, item: Heard) -> Any:
        """One hypothesis as Google splits it: what is stable, then what may still change."""
        answer = self._Answer()
        stable = [word for word in item.words if item.at_ms - word.end_ms >= 500]
        tail = item.words[len(stable) :]
        if stable:
            self._part(answer, "", stable, 0.9)
        if tail:
            age = (item.at_ms - tail[0].end_ms) / 1000
            self._part(answer, " " if stable else "", tail, round(min(0.8, max(0.1, age)), 2))
        return answer

    def final(self, item: Heard, asked: Asked) -> Any:
        answer = self._Answer()
        result = answer.results.add(is_final=True, language_code="iw-il")
        getattr(result, self._end).FromMilliseconds(item.at_ms)
        self._fill(result.alternatives.add(), item, asked)
        return answer

    def last(self, seconds: int) -> Any:
        """The answer that tells what is billed."""
        answer = self._Answer()
        self.billed(answer, seconds)
        return answer

    def whole(self, finals: Sequence[Heard], asked: Asked, seconds: int) -> Any:
        answer = self._WholeAnswer()
        for item in finals:
            result = answer.results.add(language_code="iw-il")
            getattr(result, self._end).FromMilliseconds(item.at_ms)
            self._fill(result.alternatives.add(), item, asked)
        self.billed(answer, seconds)
        return answer

    def _part(self, answer: Any, lead: str, words: Sequence[TimedWord], stability: float) -> None:
        result = answer.results.add(is_final=False, stability=stability, language_code="iw-il")
        getattr(result, self._end).FromMilliseconds(words[-1].end_ms)
        result.alternatives.add(transcript=lead + " ".join(word.text for word in words))

    def _fill(self, alternative: Any, item: Heard, asked: Asked) -> None:
        alternative.transcript = " ".join(word.text for word in item.words)
        if asked.punctuation:
            alternative.transcript += "."
        alternative.confidence = 0.9
        if asked.words:
            for word in item.words:
                info = alternative.words.add(word=word.text)
                getattr(info, self._word_start).FromMilliseconds(word.start_ms)
                getattr(info, self._word_end).FromMilliseconds(word.end_ms)


class V1(Dialect):
    service = "google.cloud.speech.v1.Speech"
    Streaming = v1.StreamingRecognizeRequest.pb()
    Whole = v1.RecognizeRequest.pb()
    _Answer = v1.StreamingRecognizeResponse.pb()
    _WholeAnswer = v1.RecognizeResponse.pb()
    _audio, _end, _event_at = "audio_content", "result_end_time", "speech_event_time"
    _word_start, _word_end = "start_time", "end_time"
    stream_limit = ("OUT_OF_RANGE", STREAM_LIMIT)
    audio_timeout = ("OUT_OF_RANGE", AUDIO_TIMEOUT)
    longest_s = 305.0
    largest = 10 * 1024 * 1024

    def asked(self, request: Any) -> Asked:
        if request.WhichOneof("streaming_request") != "streaming_config":
            raise Refused("INVALID_ARGUMENT", "Malformed request: the first message must contain 'streaming_config'.")
        streaming = request.streaming_config
        return self._asked(streaming.config, streaming.interim_results, streaming.enable_voice_activity_events)

    def whole_asked(self, request: Any) -> tuple[Asked, bytes]:
        return self._asked(request.config), request.audio.content

    def refusal(self, asked: Asked, world: World) -> tuple[str, str] | None:
        if not asked.right_audio:
            return "INVALID_ARGUMENT", "Invalid recognition 'config': bad encoding or sample rate."
        if asked.language.lower() in ("he-il", "iw-il") and asked.model in world.refused_models:
            return "INVALID_ARGUMENT", NO_MODEL.format(model=asked.model, language="iw-IL")
        return None

    def too_large(self, size: int, limit: int) -> str:
        return TOO_LARGE.format(limit=limit)

    def billed(self, answer: Any, seconds: int) -> None:
        answer.total_billed_time.seconds = seconds

    def error(self, status: int, message: str) -> Any:
        """An error inside an answer (v1 has a field for it)."""
        answer = self._Answer()
        answer.error.code = status
        answer.error.message = message
        return answer

    def _asked(self, config: Any, interim: bool = False, events: bool = False) -> Asked:
        contexts = config.speech_contexts
        return Asked(
            config.model,
            config.language_code,
            tuple(phrase for context in contexts for phrase in context.phrases),
            max((context.boost for context in contexts), default=0.0),
            config.enable_automatic_punctuation,
            config.enable_word_time_offsets,
            (config.encoding, config.sample_rate_hertz) == (int(v1.RecognitionConfig.AudioEncoding.MULAW), 8000),
            interim,
            events,
        )


class V2(Dialect):
    service = "google.cloud.speech.v2.Speech"
    Streaming = v2.StreamingRecognizeRequest.pb()
    Whole = v2.RecognizeRequest.pb()
    _Answer = v2.StreamingRecognizeResponse.pb()
    _WholeAnswer = v2.RecognizeResponse.pb()
    _audio, _end, _event_at = "audio", "result_end_offset", "speech_event_offset"
    _word_start, _word_end = "start_offset", "end_offset"
    stream_limit = ("ABORTED", V2_STREAM_LIMIT)
    audio_timeout = ("ABORTED", V2_AUDIO_TIMEOUT)
    longest_s = 300.0
    largest = V2_MAX_MESSAGE

    def asked(self, request: Any) -> Asked:
        if request.WhichOneof("streaming_request") != "streaming_config":
            raise Refused("INVALID_ARGUMENT", "The first message must contain 'streaming_config'.")
        streaming = request.streaming_config
        features = streaming.streaming_features
        return self._asked(
            request.recognizer, streaming.config, features.interim_results, features.enable_voice_activity_events
        )

    def whole_asked(self, request: Any) -> tuple[Asked, bytes]:
        return self._asked(request.recognizer, request.config), request.content

    def refusal(self, asked: Asked, world: World) -> tuple[str, str] | None:
        names = {"model": asked.model, "location": asked.location, "language": asked.language, "project": asked.project}
        if asked.location not in world.locations:
            return (
                "INVALID_ARGUMENT",
                f"Expected resource location to be global, but found {asked.location} in resource name.",
            )
        if not asked.model:
            return "INVALID_ARGUMENT", "Invalid 'model': field must be non-empty."
        if not asked.right_audio:
            return "INVALID_ARGUMENT", "Audio encoding, sample rate or channel count do not fit explicit decoding."
        if asked.model in world.closed:
            return "PERMISSION_DENIED", V2_CLOSED.format_map(names)
        if asked.model not in world.locations[asked.location]:
            return "INVALID_ARGUMENT", V2_NO_MODEL.format_map(names)
        if asked.language != "iw-IL" or asked.model in world.without_hebrew:
            return "INVALID_ARGUMENT", V2_NO_LANGUAGE.format_map(names)
        wanted = {
            "word_time_offsets": asked.words,
            "speech_adaptation_boost": bool(asked.phrases and asked.boost),
            "speech_adaptation": bool(asked.phrases),
            "automatic_punctuation": asked.punctuation,
        }
        for feature in world.lacking.get(asked.model, frozenset()):
            if wanted.get(feature):
                return "INVALID_ARGUMENT", V2_NO_FEATURE.format(feature=feature)
        return None

    def too_large(self, size: int, limit: int) -> str:
        return V2_TOO_LARGE.format(limit=limit, size=size)

    def billed(self, answer: Any, seconds: int) -> None:
        answer.metadata.total_billed_duration.seconds = seconds

    def _asked(self, recognizer: str, config: Any, interim: bool = False, events: bool = False) -> Asked:
        path = _RECOGNIZER.fullmatch(recognizer)
        if path is None:
            raise Refused("INVALID_ARGUMENT", "Invalid resource field value in the request.")
        sets = [entry.inline_phrase_set for entry in config.adaptation.phrase_sets]
        decoding = config.explicit_decoding_config
        mulaw = int(v2.ExplicitDecodingConfig.AudioEncoding.MULAW)
        return Asked(
            config.model,
            config.language_codes[0] if config.language_codes else "",
            tuple(phrase.value for entry in sets for phrase in entry.phrases),
            max((entry.boost for entry in sets), default=0.0),
            config.features.enable_automatic_punctuation,
            config.features.enable_word_time_offsets,
            (decoding.encoding, decoding.sample_rate_hertz, decoding.audio_channel_count) == (mulaw, 8000, 1),
            interim,
            events,
            path[2],
            path[1],
        )
