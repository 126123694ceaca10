"""`moked transcribe`: recordings in, transcripts out, one file after the other and each of them whole or not at all.

    paths -> plan -> for each recording: utterances -> the engine, a few at a time -> merged by time -> one file

What cannot be done is said of the one recording it is about, and the others go on. A transcript is written when it is
complete, into a temporary file that then takes its name, so that an interruption leaves finished files and no halves;
what is there already is passed over, which makes the same command again the way to go on.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from moked import parts, weights
from moked.audio import SAMPLES_PER_MS
from moked.errors import Failure, ModelError, MokedError, ProviderError, RecordingError, SettingsError, first_leaf
from moked.media.vad import SileroVad
from moked.recordings import EXTENSIONS, Recording, open_recording, same_on_both
from moked.settings import Settings
from moked.stt import Engine, Stream
from moked.stt import Final as FinalText
from moked.stt.google import GoogleStreaming, GoogleUtterances
from moked.stt.utterance import Transcription
from moked.stt.whisper_http import WhisperHttp
from moked.stt.whisper_local import WhisperLocal
from moked.transcript_files import Format, Segment, Transcript, merged, written
from moked.utterances import Position, Utterance, utterances

ENGINES: Final = ("whisper", "whisper-http", "google", "google-batch")
_PIECE_MS: Final = 100  # written to a streaming engine at once, in real time
_PAUSES_S: Final = (1.0, 4.0)  # before an utterance is tried again
_AGAIN: Final = frozenset({Failure.QUOTA, Failure.UNAVAILABLE, Failure.TIMEOUT})
_BACKGROUND: Final = 10  # niceness: calls of the same machine go first
_PATIENCE_S: Final = 900.0  # for one utterance: a large model on a small machine


@dataclass(frozen=True, slots=True)
class Options:
    """`out` None writes beside each recording. `speakers` are names for two channels, left first."""

    form: Format = Format.TEXT
    out: Path | None = None
    to_stdout: bool = False
    force: bool = False
    jobs: int = 0  # utterances at once; 0: what suits the engine
    as_phone: bool = False
    mix: bool = False
    speakers: tuple[str, str] | None = None
    language: str = "he"


# --- what there is to do ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Work:
    """One recording and where its transcript goes; None is standard output."""

    source: Path
    target: Path | None


@dataclass(slots=True)
class Plan:
    work: list[Work] = field(default_factory=list)
    already: list[Path] = field(default_factory=list)  # transcripts that are there and stay
    passed_over: list[Path] = field(default_factory=list)  # in folders: neither recordings nor transcripts of them
    problems: list[MokedError] = field(default_factory=list)


def plan(paths: Sequence[Path], options: Options) -> Plan:
    """Find the recordings. Raises `SettingsError` where the options contradict what was found."""
    found = Plan()
    sources: list[tuple[Path, Path]] = []  # with the place below the output folder
    for path in paths:
        try:
            if path.is_dir():
                inside = list(_recordings(path, found))
                if not inside:
                    raise RecordingError(f"{path}: there is no recording in this folder (such as .wav, .mp3 or .m4a)")
                sources += [(one, one.relative_to(path)) for one in inside]
            elif path.exists():
                sources.append((path, Path(path.name)))
            else:
                raise RecordingError(f"{path}: there is no such file or folder. Check the path")
        except RecordingError as problem:
            found.problems.append(problem)
        except OSError as problem:
            found.problems.append(RecordingError(f"{path}: {problem.strerror}. Give this user the right to read it"))
    sources = list(dict.fromkeys(sources))
    if options.to_stdout:
        if len(sources) > 1:
            raise SettingsError(f"{len(sources)} recordings cannot all go to standard output: give a folder with --out")
        found.work = [Work(source, None) for source, _ in sources]
        return found
    targets = list(_apart(sources, [_target(source, below, options) for source, below in sources]))
    found.passed_over = [path for path in found.passed_over if path not in targets]
    for (source, _), target in zip(sources, targets, strict=True):
        if target.exists() and not options.force:
            found.already.append(target)
        else:
            found.work.append(Work(source, target))
    return found


def _recordings(folder: Path, found: Plan) -> Iterator[Path]:
    def refuse(problem: OSError) -> None:
        found.problems.append(
            RecordingError(f"{problem.filename}: {problem.strerror}. Give this user the right to read the folder")
        )

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            if Path(name).suffix.lower() in EXTENSIONS:
                yield Path(place) / name
            else:
                found.passed_over.append(Path(place) / name)


def _target(source: Path, below: Path, options: Options) -> Path:
    place = source if options.out is None else options.out / below
    return place.with_suffix(options.form.suffix)


def _apart(sources: Sequence[tuple[Path, Path]], targets: Sequence[Path]) -> Iterator[Path]:
    """`call.txt` for call.wav; where there is a call.mp3 beside it, `call.wav.txt` and `call.mp3.txt`."""
    for (source, _), target in zip(sources, targets, strict=True):
        yield target if targets.count(target) == 1 else target.with_name(source.name + target.suffix)


# --- who hears --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listener:
    """An engine as recordings use it. `wide`: it hears 16 kHz; `at_once` utterances keep it busy."""

    name: str
    model: Callable[[], str]
    wide: bool
    at_once: int
    running: Callable[[], AbstractAsyncContextManager[None]]
    hear: Callable[[Utterance], Awaitable[Transcription]]


def listener(settings: Settings, engine: str, options: Options) -> Listener:
    """The engine of that name; '' is what the settings choose. Raises `SettingsError` or `ModelError`."""
    without_google = "whisper-http" if settings.whisper_base_url else "whisper"
    name = engine or ("google-batch" if parts.uses_google_speech(settings) else without_google)
    if name not in ENGINES:
        raise SettingsError(f"{name!r} is not an engine: take {', '.join(ENGINES)}")
    if name == "whisper":
        whisper = _whisper(settings, options.language)

        async def hear(utterance: Utterance) -> Transcription:
            if options.as_phone:
                return await whisper.transcribe(utterance.mulaw)
            return await whisper.transcribe_wide(utterance.pcm16k)

        return Listener(name, lambda: settings.whisper_model, not options.as_phone, 2, whisper.running, hear)
    if name == "whisper-http":
        server = _server(settings, options.language)

        async def ask(utterance: Utterance) -> Transcription:
            return await server.transcribe(utterance.mulaw)

        return Listener(name, lambda: settings.whisper_model, False, 4, server.running, ask)
    if not parts.uses_google_speech(settings):
        raise SettingsError(f"--engine {name} needs GOOGLE_APPLICATION_CREDENTIALS; --engine whisper needs no key")
    google = _google(settings, options.language, streaming=name == "google")

    async def hear_stream(utterance: Utterance) -> Transcription:
        return await through_stream(google, utterance)

    return Listener(name, lambda: google.model, False, 4, google.running, hear_stream)


def _whisper(settings: Settings, language: str) -> WhisperLocal:
    base = settings.whisper_model == "base"
    return WhisperLocal(
        weights.path("whisper-base", root=settings.models_root) if base else settings.whisper_model,
        language=language,
        compute_type="int8" if base else "default",  # as it was saved: large ones lose Hebrew by int8
        nice=_BACKGROUND,
        timeout_s=_PATIENCE_S,
    )


def _server(settings: Settings, language: str) -> WhisperHttp:
    if not settings.whisper_base_url:
        raise SettingsError("--engine whisper-http needs WHISPER_BASE_URL; --engine whisper needs no server")
    key = settings.whisper_api_key
    return WhisperHttp(
        settings.whisper_base_url,
        settings.whisper_model,
        api_key=key.get_secret_value() if key is not None else "",
        language=language,
        timeout_s=_PATIENCE_S,
    )


def _google(settings: Settings, language: str, *, streaming: bool) -> GoogleStreaming | GoogleUtterances:
    google = replace(
        parts.google_speech(settings),
        language=settings.gcp_stt_language if language == "he" else language,
        recognize_timeout_s=60.0,
    )
    return GoogleStreaming(google) if streaming else GoogleUtterances(google)


async def through_stream(engine: Engine, utterance: Utterance) -> Transcription:
    """One utterance through an engine's port: at once where it takes whole ones, else as fast as it was said."""
    whole = getattr(engine, "whole_utterances", False)
    pieces = [utterance.mulaw] if whole else _pieces(utterance.mulaw)

    async def write(stream: Stream) -> None:
        stream.speech_started(utterance.start_ms)
        for piece in pieces:
            await stream.write(piece)
            if not whole:
                await anyio.sleep(_PIECE_MS / 1000)
        stream.speech_ended(utterance.end_ms)
        await stream.finish()

    try:
        async with engine.stream(origin_ms=utterance.start_ms) as stream, anyio.create_task_group() as tasks:
            tasks.start_soon(write, stream)
            finals = [result async for result in stream if isinstance(result, FinalText)]
    except ExceptionGroup as group:
        raise first_leaf(group) from None
    sure = [final.confidence for final in finals if final.confidence is not None]
    return Transcription(" ".join(final.text for final in finals), min(sure, default=None))


def _pieces(mulaw: bytes) -> list[bytes]:
    size = _PIECE_MS * SAMPLES_PER_MS
    return [mulaw[start : start + size] for start in range(0, len(mulaw), size)]


# --- doing it ---------------------------------------------------------------------------------------------------------


class View:
    """Who watches: this one does not. A terminal shows it (`transcribe_view`)."""

    def loading(self, engine: str) -> None: ...

    def begun(self, work: Work, number: int, of: int) -> None: ...

    def at(self, ms: int, of_ms: int | None) -> None: ...

    def said(self, segment: Segment) -> None: ...

    def finished(self, work: Work, transcript: Transcript, took_s: float) -> None: ...

    def failed(self, work: Work, problem: MokedError) -> None: ...


@dataclass(slots=True)
class Done:
    """`finished` and `failed` recordings."""

    finished: int = 0
    failed: int = 0
    audio_ms: int = 0
    to_stdout: str = ""


async def run(found: Plan, who: Listener, settings: Settings, options: Options, view: View, done: Done) -> None:
    """Transcribe all of a plan; `done` counts while it goes. Raises `ModelError` when nothing can be heard at all."""
    detector = weights.path("silero-vad", root=settings.models_root)
    view.loading(who.name)
    vad = await anyio.to_thread.run_sync(SileroVad, detector)
    async with who.running():
        for number, work in enumerate(found.work, 1):
            view.begun(work, number, len(found.work))
            started = time.monotonic()
            try:
                transcript = await transcribe(work.source, who, vad, options, view)
                text = written(transcript, options.form)
                if work.target is None:
                    done.to_stdout = text
                else:
                    write_whole(work.target, text)
            except MokedError as problem:
                done.failed += 1
                view.failed(work, problem)
            else:
                done.finished += 1
                done.audio_ms += transcript.duration_ms
                view.finished(work, transcript, time.monotonic() - started)


async def transcribe(path: Path, who: Listener, vad: SileroVad, options: Options, view: View) -> Transcript:
    """One recording. Raises `RecordingError` when it cannot be read, `ProviderError` when the engine fails."""
    segments: list[Segment] = []
    one_voice = options.mix or await anyio.to_thread.run_sync(same_on_both, path)
    room = anyio.Semaphore(options.jobs or who.at_once)
    position = 0
    with open_recording(path, mix=one_voice) as recording:
        speakers = _speakers(recording, options)

        async def hear(utterance: Utterance) -> None:
            try:
                result = await _hear(who, utterance)
            finally:
                room.release()
            if result.text.strip():
                speaker = speakers[utterance.channel] if speakers else None
                segment = Segment(utterance.start_ms, utterance.end_ms, speaker, result.text, result.confidence)
                segments.append(segment)
                view.said(segment)

        source = utterances(recording, vad)
        try:
            async with anyio.create_task_group() as tasks:
                while (item := await anyio.to_thread.run_sync(next, source, None)) is not None:
                    if isinstance(item, Position):
                        position = item.ms
                        view.at(position, recording.duration_ms)
                    else:
                        await room.acquire()
                        tasks.start_soon(hear, item)
        except ExceptionGroup as group:
            raise first_leaf(group) from None
        warnings = _warnings(recording, segments)
    return Transcript(
        file=str(path),
        duration_ms=position,
        engine=who.name,
        model=who.model(),
        language=options.language,
        audio="wideband" if who.wide else "telephone",
        speakers=speakers,
        segments=merged(segments),
        warnings=warnings,
    )


async def _hear(who: Listener, utterance: Utterance) -> Transcription:
    for pause_s in _PAUSES_S:
        try:
            return await who.hear(utterance)
        except ProviderError as problem:
            if problem.kind not in _AGAIN:
                raise
        await anyio.sleep(pause_s)
    return await who.hear(utterance)


def _speakers(recording: Recording, options: Options) -> tuple[str, ...]:
    if recording.channels == 1:
        return ()
    if options.speakers is not None:
        return options.speakers
    return ("caller", "agent") if recording.own_call else ("left", "right")


def _warnings(recording: Recording, segments: Iterable[Segment]) -> tuple[str, ...]:
    found = []
    if recording.damaged:
        found.append(f"{recording.damaged} damaged pieces of the file were passed over")
    if recording.tracks > 2:
        found.append(f"its {recording.tracks} channels were mixed into one")
    if not list(segments):
        found.append("no words were found in it")
    return tuple(found)


def write_whole(path: Path, text: str) -> None:
    """All of it under this name, or nothing. Raises `RecordingError` where it cannot be written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text, "utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as problem:
        raise RecordingError(
            f"{path}: cannot be written: {problem.strerror}. Give another folder with --out, or this user the right"
        ) from problem


def check(settings: Settings, engine: str) -> None:
    """What is better said before anything loads. Raises `ModelError`."""
    model = settings.whisper_model
    looks_like_a_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if engine in ("", "whisper") and looks_like_a_path and not Path(model).is_dir():
        raise ModelError(
            f"WHISPER_MODEL: there is no folder {model!r}. Give the folder of a CTranslate2 Whisper model (with"
            " model.bin in it), or unset it for the embedded one"
        )


def exit_code(found: Plan, done: Done) -> int:
    """0: all; 1: some; 2: none."""
    failed = len(found.problems) + done.failed
    if not failed:
        return 0
    return 1 if done.finished or found.already else 2
