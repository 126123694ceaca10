"""Google Speech's messages, API v1 and v2: raw protobuf behind one `Dialect`.

What answers mean is `google_rules`; what moves them is `google_wire`. An answer is parsed here and not by gRPC, which
logs what it cannot parse and hands on None in its place.
"""

from dataclasses import dataclass
from typing import Any, Protocol
from typing import Final as Const
from urllib.parse import quote

from google.cloud.speech_v1.types import cloud_speech as v1
from google.cloud.speech_v2.types import cloud_speech as v2
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from moked.audio import SAMPLE_RATE
from moked.stt import google_rules as rules

_MAX_BOOST: Const = 10.0


@dataclass(frozen=True, slots=True)
class GoogleSettings:
    """Values, not names of variables. `emulator_host` "host:port" means plaintext without credentials."""

    api: rules.Api = "v1"
    location: str = "global"  # v2 only
    project: str = ""  # v2 only; empty: the one the credentials belong to
    model: str = "phone_call"
    language: str = "he-IL"
    batch_ms: int = 150
    punctuation_interim: bool = False
    punctuation_final: bool = True
    emulator_host: str | None = None
    credentials_file: str | None = None  # None: the environment's default credentials
    channels: int = 2  # connections; a server commonly takes 100 streams on each
    max_streams: int = 0  # of this process; 0: no limit of ours
    use_enhanced: bool = True  # v1 only; the standard version is used where there is no enhanced one
    hint_boost: float = 10.0  # 0..20; more brings false positives
    connect_timeout_s: float = 1.5
    stream_timeout_s: float = 320.0  # beyond Google's own 305, so that its limit is the one that is seen
    drain_s: float = 5.0  # from `finish` to the end of the stream
    tail_ms: int = 600  # silence before the half-close: without it the last final may not come
    recognize_timeout_s: float = 5.0
    bound_ms: int = 1000  # audio that waits to be sent


@dataclass(frozen=True, slots=True)
class Wish:
    """What one recognition asks for. `without`: features of v2 that this model has refused."""

    model: str
    hints: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()


class Ended(Exception):
    """A call is over. `status` is gRPC's name of it."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(f"{status} {text}".strip())
        self.status = status
        self.text = text


class Dialect(Protocol):
    """One API version. Messages are raw protobuf; answers go through `google_rules` by its field names."""

    api: rules.Api
    streaming: str
    recognize: str
    metadata: tuple[tuple[str, str], ...]

    def first(self, wish: Wish) -> Any:
        """The message that opens a stream."""

    def audio(self, audio: bytes) -> Any: ...

    def whole(self, wish: Wish, audio: bytes) -> Any:
        """The request of a single utterance."""

    def answer(self, data: bytes) -> Any:
        """A stream's answer. Raises `Ended` for an error inside it, and where it is no message."""

    def whole_answer(self, data: bytes) -> Any:
        """The answer to a single utterance. Raises `Ended` where it is no message."""

    def billed_ms(self, answer: Any) -> int: ...


class V1:
    api: rules.Api = "v1"
    streaming = "/google.cloud.speech.v1.Speech/StreamingRecognize"
    recognize = "/google.cloud.speech.v1.Speech/Recognize"
    metadata: tuple[tuple[str, str], ...] = ()
    _Config = v1.RecognitionConfig.pb()
    _Streaming = v1.StreamingRecognizeRequest.pb()
    _StreamingAnswer = v1.StreamingRecognizeResponse.pb()
    _Whole = v1.RecognizeRequest.pb()
    _WholeAnswer = v1.RecognizeResponse.pb()

    def __init__(self, settings: GoogleSettings) -> None:
        self._settings = settings

    def first(self, wish: Wish) -> Any:
        request = self._Streaming()
        request.streaming_config.interim_results = True
        request.streaming_config.config.CopyFrom(self._config(wish))
        return request

    def audio(self, audio: bytes) -> Any:
        return self._Streaming(audio_content=audio)

    def whole(self, wish: Wish, audio: bytes) -> Any:
        return self._Whole(config=self._config(wish), audio={"content": audio})

    def answer(self, data: bytes) -> Any:
        answer = _parsed(self._StreamingAnswer, data)
        if answer.HasField("error"):
            raise Ended(rules.status_name(answer.error.code), answer.error.message)
        return answer

    def whole_answer(self, data: bytes) -> Any:
        return _parsed(self._WholeAnswer, data)

    def billed_ms(self, answer: Any) -> int:
        return rules.millis(answer.total_billed_time)

    def _config(self, wish: Wish) -> Any:
        settings = self._settings
        config = self._Config(
            encoding=int(v1.RecognitionConfig.AudioEncoding.MULAW),
            sample_rate_hertz=SAMPLE_RATE,
            audio_channel_count=1,
            language_code=rules.language("v1", settings.language),
            max_alternatives=1,
            enable_word_time_offsets="words" not in wish.without,
            enable_automatic_punctuation=_punctuation(settings, wish),
            model=wish.model,
            use_enhanced=settings.use_enhanced,
        )
        if wish.hints:
            config.speech_contexts.add(phrases=wish.hints, boost=min(settings.hint_boost, _MAX_BOOST))
        return config


class V2:
    """Recognizer "_" is none of the project's own: all it would hold is in each request."""

    api: rules.Api = "v2"
    streaming = "/google.cloud.speech.v2.Speech/StreamingRecognize"
    recognize = "/google.cloud.speech.v2.Speech/Recognize"
    _Streaming = v2.StreamingRecognizeRequest.pb()
    _StreamingAnswer = v2.StreamingRecognizeResponse.pb()
    _Whole = v2.RecognizeRequest.pb()
    _WholeAnswer = v2.RecognizeResponse.pb()
    _Config = v2.RecognitionConfig.pb()

    def __init__(self, settings: GoogleSettings, project: str) -> None:
        self._settings = settings
        self._recognizer = f"projects/{project}/locations/{settings.location}/recognizers/_"
        # by which Google's front end finds the region
        self.metadata: tuple[tuple[str, str], ...] = (
            ("x-goog-request-params", f"recognizer={quote(self._recognizer, safe='')}"),
        )

    def first(self, wish: Wish) -> Any:
        request = self._Streaming(recognizer=self._recognizer)
        request.streaming_config.streaming_features.interim_results = True
        request.streaming_config.config.CopyFrom(self._config(wish))
        return request

    def audio(self, audio: bytes) -> Any:
        return self._Streaming(audio=audio)

    def whole(self, wish: Wish, audio: bytes) -> Any:
        return self._Whole(recognizer=self._recognizer, config=self._config(wish), content=audio)

    def answer(self, data: bytes) -> Any:
        return _parsed(self._StreamingAnswer, data)

    def whole_answer(self, data: bytes) -> Any:
        return _parsed(self._WholeAnswer, data)

    def billed_ms(self, answer: Any) -> int:
        return rules.millis(answer.metadata.total_billed_duration)

    def _config(self, wish: Wish) -> Any:
        settings = self._settings
        config = self._Config(model=wish.model, language_codes=[rules.language("v2", settings.language)])
        decoding = config.explicit_decoding_config  # audio without a header cannot be guessed
        decoding.encoding = int(v2.ExplicitDecodingConfig.AudioEncoding.MULAW)
        decoding.sample_rate_hertz = SAMPLE_RATE
        decoding.audio_channel_count = 1
        config.features.max_alternatives = 1
        config.features.enable_word_time_offsets = "words" not in wish.without
        config.features.enable_automatic_punctuation = _punctuation(settings, wish)
        if wish.hints and "hints" not in wish.without:
            phrases = config.adaptation.phrase_sets.add().inline_phrase_set
            for hint in wish.hints:
                phrases.phrases.add(value=hint)
            if "boost" not in wish.without:
                phrases.boost = min(settings.hint_boost, _MAX_BOOST)
        return config


def _punctuation(settings: GoogleSettings, wish: Wish) -> bool:
    """One switch for interims and finals; what is not wanted is taken out of the text here."""
    return (settings.punctuation_interim or settings.punctuation_final) and "punctuation" not in wish.without


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as problem:
        raise Ended("DATA_LOSS", f"an answer that is no message: {problem}") from None
