"""`moked transcribe`: what is found, who hears, what is written, and what is said when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np
import pytest

from emulators.google_speech import Fault, GoogleSpeech
from moked import cli, parts, transcribe, weights
from moked.audio import silence, to_float
from moked.errors import Failure, MokedError, ProviderError, RecordingError, SettingsError
from moked.settings import Settings, load_settings
from moked.simulate.audio import write_wav
from moked.stt.utterance import Transcription
from moked.stt.wer import character_errors
from moked.transcribe import Done, Listener, Options, Plan, View, Work, plan, write_whole
from moked.transcript_files import Format
from moked.utterances import Utterance
from tests.test_recordings import bad, sine, wav
from tests.wire.voices import says

VOICES = Path(__file__).parents[2] / "shared" / "data" / "gcompris-he"
hears = pytest.mark.skipif(not weights.available("silero-vad"), reason="`moked models install` brings the detector")


def speech(path: Path, *sides: bytes) -> Path:
    """A WAV of 8 kHz: one channel of mu-law, or two."""
    length = max(map(len, sides))
    tracks = [to_float(side + silence((length - len(side)) // 8 + 1)[: length - len(side)]) for side in sides]
    return wav(path, np.stack(tracks, axis=1), 8000)


def moked(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """The command itself, in this process: its exit status."""
    monkeypatch.setattr(sys, "argv", ["moked", "transcribe", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def _plain_settings(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)


# --- what there is to do ----------------------------------------------------------------------------------------------


def test_a_folder_is_searched_and_what_is_no_recording_is_noted(tmp_path):
    for name in ("a.wav", "deep/b.MP3", "deep/er/c.m4a", "notes.pdf", ".hidden.wav", ".git/d.wav", "a.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    found = plan([tmp_path / "in"], Options(out=tmp_path / "out", form=Format.SRT))
    assert [(str(one.source.relative_to(tmp_path)), str(one.target.relative_to(tmp_path))) for one in found.work] == [
        ("in/a.wav", "out/a.srt"),
        ("in/deep/b.MP3", "out/deep/b.srt"),
        ("in/deep/er/c.m4a", "out/deep/er/c.srt"),
    ]
    assert sorted(path.name for path in found.passed_over) == ["a.txt", "notes.pdf"]
    beside = plan([tmp_path / "in"], Options())
    assert beside.already == [tmp_path / "in" / "a.txt"], "not overwritten, and no foreign file"
    assert [path.name for path in beside.passed_over] == ["notes.pdf"]
    assert len(beside.work) == 2
    assert len(plan([tmp_path / "in"], Options(force=True)).work) == 3


def test_two_recordings_of_one_name_have_two_transcripts(tmp_path):
    for name in ("a.wav", "a.mp3", "b.wav"):
        (tmp_path / name).write_bytes(b"x")
    found = plan([tmp_path], Options())
    assert [one.target.name for one in found.work] == ["a.mp3.txt", "a.wav.txt", "b.txt"]
    assert len(plan([tmp_path, tmp_path / "b.wav"], Options()).work) == 3, "named twice, heard once"


def test_only_one_recording_can_go_to_standard_output(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"x")
    assert plan([tmp_path / "a.wav"], Options(to_stdout=True)).work == [Work(tmp_path / "a.wav", None)]
    with pytest.raises(SettingsError, match=r"2 recordings.*--out"):
        plan([tmp_path], Options(to_stdout=True))


def test_a_transcript_is_whole_or_not_there(tmp_path, monkeypatch):
    write_whole(tmp_path / "new" / "a.txt", "שלום\n")
    assert (tmp_path / "new" / "a.txt").read_text("utf-8") == "שלום\n"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RecordingError, match=r"cannot be written: No space left.*--out"):
        write_whole(tmp_path / "new" / "b.txt", "x")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


# --- hearing ----------------------------------------------------------------------------------------------------------


class Watching(View):
    def __init__(self) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.positions: list[int] = []

    def at(self, ms: int, of_ms: int | None) -> None:
        self.positions.append(ms)

    def finished(self, work, transcript, took_s) -> None:
        self.warnings += transcript.warnings

    def failed(self, work: Work, problem: MokedError) -> None:
        self.problems.append(str(problem))


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


def listener(hear, at_once: int = 2) -> Listener:
    return Listener("fake", lambda: "none", True, at_once, nothing, hear)


async def heard(found: Plan, who: Listener, options: Options) -> tuple[Done, Watching]:
    done, view = Done(), Watching()
    await transcribe.run(found, who, load_settings(), options, view, done)
    return done, view


@hears
@pytest.mark.anyio
async def test_two_speakers_are_merged_by_time_and_one_broken_file_does_not_stop_the_others(tmp_path):
    word = says("שלום דנה")
    left = silence(500) + word + silence(3000) + word + silence(1500)
    right = silence(2000) + word
    speech(tmp_path / "b.wav", left, right)
    bad(tmp_path / "a.mp3", "text")
    at_work = most = 0

    async def hear(utterance: Utterance) -> Transcription:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await anyio.sleep(0.2 if utterance.start_ms > 1000 else 0.5)  # answers do not come in order
        at_work -= 1
        return Transcription(f"{'ימין' if utterance.channel else 'שמאל'} {utterance.start_ms // 1000}", 0.5)

    options = Options(form=Format.JSON)
    done, view = await heard(plan([tmp_path], options), listener(hear), options)
    assert (done.finished, done.failed) == (1, 1)
    assert "a.mp3: cannot be read as audio" in view.problems[0]
    assert most == 2
    data = json.loads((tmp_path / "b.json").read_text("utf-8"))
    assert [(one["speaker"], one["text"]) for one in data["segments"]] == [
        ("left", "שמאל 0"),
        ("right", "ימין 1"),
        ("left", "שמאל 3"),
    ]
    assert (data["engine"], data["model"], data["audio"], data["language"]) == ("fake", "none", "wideband", "he")
    assert data["duration_ms"] == pytest.approx(len(left) // 8, abs=2)
    assert transcribe.exit_code(plan([tmp_path], options), done) == 1


@hears
@pytest.mark.anyio
async def test_a_saved_call_knows_caller_and_agent_and_names_can_be_given(tmp_path):
    word = says("שלום דנה")
    path = tmp_path / "call.wav"
    write_wav(path, caller=[(8 * 500, word)], agent=[(8 * 2500, word)], ms=4500)

    async def hear(utterance: Utterance) -> Transcription:
        return Transcription("כן")

    for options, names in (
        (Options(), ["caller", "agent"]),
        (Options(speakers=("דנה", "נציג"), force=True), ["דנה", "נציג"]),
        (Options(mix=True, force=True), None),
    ):
        await heard(plan([path], options), listener(hear), options)
        lines = path.with_suffix(".txt").read_text("utf-8").splitlines()
        expected = [f"{name}: כן" for name in names] if names else ["כן", "כן"]
        assert [line.split("] ")[1] for line in lines] == expected


@hears
@pytest.mark.anyio
async def test_an_engine_that_fails_is_asked_again_where_that_helps(tmp_path, monkeypatch):
    monkeypatch.setattr(transcribe, "_PAUSES_S", (0.0, 0.0))
    speech(tmp_path / "a.wav", silence(300) + says("שלום דנה") + silence(300))
    asked: list[Failure] = []

    def failing(kind: Failure, times: int) -> Listener:
        async def hear(_: Utterance) -> Transcription:
            asked.append(kind)
            if len(asked) <= times:
                raise ProviderError("fake", kind, "not now")
            return Transcription("שלום")

        asked.clear()
        return listener(hear)

    options = Options(force=True)
    found = plan([tmp_path], options)
    done, _ = await heard(found, failing(Failure.QUOTA, 2), options)
    assert (done.finished, len(asked)) == (1, 3)
    done, view = await heard(found, failing(Failure.UNAVAILABLE, 9), options)
    assert (done.failed, len(asked)) == (1, 3)
    assert "fake: unavailable: not now" in view.problems[0]
    done, _ = await heard(found, failing(Failure.AUTH, 9), options)
    assert (done.failed, len(asked)) == (1, 1)
    assert transcribe.exit_code(found, done) == 2


@hears
@pytest.mark.anyio
async def test_no_words_and_many_channels_are_warned_of(tmp_path):
    wav(tmp_path / "hum.wav", np.stack([sine(2, 8000, 50)] * 3, axis=1), 8000)

    async def hear(_: Utterance) -> Transcription:
        return Transcription("")

    done, view = await heard(plan([tmp_path], Options()), listener(hear), Options())
    assert done.finished == 1
    assert view.warnings == ["its 3 channels were mixed into one", "no words were found in it"]
    assert (tmp_path / "hum.txt").read_text() == ""
    assert view.positions[-1] == 2000


@hears
@pytest.mark.anyio
@pytest.mark.parametrize("engine", ["", "google", "google-batch"])
async def test_google_hears_recordings(tmp_path, engine):
    said = ["שלום קוראים לי דנה", "אני צריכה טכנאי"]
    sound = silence(600) + says(said[0]) + silence(1500) + says(said[1]) + silence(600)
    path = speech(tmp_path / "a.wav", sound)
    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:
        settings = load_settings().model_copy(update={"speech_emulator_host": target})
        options = Options()
        done, view = Done(), Watching()
        await transcribe.run(
            plan([path], options), transcribe.listener(settings, engine, options), settings, options, view, done
        )
    assert (done.finished, view.problems) == (1, [])
    lines = path.with_suffix(".txt").read_text("utf-8").splitlines()
    assert [line.split("] ")[1].rstrip(".") for line in lines] == said


@hears
@pytest.mark.anyio
async def test_a_refusal_by_google_fails_the_file_and_says_so(tmp_path):
    path = speech(tmp_path / "a.wav", silence(600) + says("שלום דנה") + silence(600))
    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:
        settings = load_settings().model_copy(update={"speech_emulator_host": target})
        who = transcribe.listener(settings, "google-batch", Options())
        done, view = Done(), Watching()

        @asynccontextmanager
        async def then_refused() -> AsyncIterator[None]:
            async with who.running():  # its own probe is let through
                emulator.fault = Fault("error", status="PERMISSION_DENIED", message="no")
                yield

        refused = Listener(who.name, who.model, who.wide, who.at_once, then_refused, who.hear)
        await transcribe.run(plan([path], Options()), refused, settings, Options(), view, done)
    assert done.failed == 1
    assert "google-batch: auth" in view.problems[0]
    assert not path.with_suffix(".txt").exists()


@pytest.mark.anyio
async def test_whisper_gets_the_whole_band_or_what_a_telephone_carries(monkeypatch):
    class Whisper:
        running = staticmethod(nothing)

        async def transcribe(self, mulaw: bytes) -> Transcription:
            return Transcription(f"phone {len(mulaw)}")

        async def transcribe_wide(self, pcm16k: bytes) -> Transcription:
            return Transcription(f"wide {len(pcm16k)}")

    asked = {}

    def whisper(model: Path | str, **special: object) -> Whisper:
        asked.update(special, model=model)
        return Whisper()

    monkeypatch.setattr(transcribe, "WhisperLocal", whisper)
    monkeypatch.setenv("WHISPER_MODEL", "some/model")
    utterance = Utterance(0, 0, 1000, b"\0" * 32_000, silence(1000))
    wide = transcribe.listener(load_settings(), "", Options(language="ar"))
    phone = transcribe.listener(load_settings(), "whisper", Options(as_phone=True))
    assert (await wide.hear(utterance)).text == "wide 32000"
    assert (await phone.hear(utterance)).text == "phone 8000"
    assert (wide.name, wide.model(), wide.wide, phone.wide) == ("whisper", "some/model", True, False)
    assert (asked["language"], asked["model"]) == ("he", "some/model")
    assert asked["nice"] > 5, "behind the calls of the same machine"


# --- the command, and everything that can be wrong --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "says_so"),
    [
        ("absent", "no such file or folder"),
        ("folder", "no recording in this folder"),
        ("empty", "empty (0 bytes)"),
        ("text", "cannot be read as audio"),
        ("zeros", "cannot be read as audio"),
        ("no length", "no sound in this file"),
        ("rate of 1", "sample rate of 1 Hz"),
        ("video", "no audio in this file"),
    ],
)
@hears
def test_bad_input_is_told_and_ends_with_2(tmp_path, monkeypatch, capsys, kind, says_so):
    async def deaf(_: Utterance) -> Transcription:
        raise AssertionError("nothing to hear")

    monkeypatch.setattr(transcribe, "listener", lambda *_: listener(deaf))
    path = bad(tmp_path / "in.wav", kind)
    assert moked(path, monkeypatch=monkeypatch) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.startswith("recording: ")
    assert says_so in told
    assert "in.wav" in told
    assert not (tmp_path / "in.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "environment", "says_so"),
    [
        (["--engine", "best"], {}, "'best' is not an engine: take whisper, whisper-http, google, google-batch"),
        (["--engine", "google"], {}, "needs GOOGLE_APPLICATION_CREDENTIALS"),
        (["--engine", "whisper-http"], {}, "needs WHISPER_BASE_URL"),
        (["--speakers", "דנה"], {}, "give two names with a comma"),
        ([], {"WHISPER_MODEL": "/no/such/model"}, "WHISPER_MODEL: there is no folder '/no/such/model'"),
        ([], {"MODELS_DIR": "none"}, "run `moked models install`"),
    ],
)
def test_bad_settings_are_told_and_end_with_2(tmp_path, monkeypatch, capsys, arguments, environment, says_so):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = wav(tmp_path / "in.wav", sine(1, 8000)[:, None], 8000)
    assert moked(path, *arguments, monkeypatch=monkeypatch) == 2
    assert says_so in " ".join(capsys.readouterr().err.split())


@hears
def test_a_provider_that_fails_is_told_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transcribe, "_PAUSES_S", ())
    path = speech(tmp_path / "a.wav", silence(300) + says("שלום דנה") + silence(300))
    for kind, what_to_do in ((Failure.UNAVAILABLE, "--engine whisper"), (Failure.AUTH, "moked doctor")):

        async def hear(_: Utterance, kind: Failure = kind) -> Transcription:
            raise ProviderError("google", kind, "no")

        monkeypatch.setattr(transcribe, "listener", lambda *_, hear=hear: listener(hear))
        assert moked(path, monkeypatch=monkeypatch) == 2
        told = capsys.readouterr().err
        assert told.startswith("provider: ")
        assert "a.wav" in told
        assert what_to_do in told


@hears
def test_the_exit_status_counts_what_was_done(tmp_path, monkeypatch, capsys):
    async def hear(_: Utterance) -> Transcription:
        return Transcription("שלום")

    monkeypatch.setattr(transcribe, "listener", lambda *_: listener(hear))
    good = speech(tmp_path / "good.wav", silence(300) + says("שלום דנה") + silence(300))
    assert moked(good, "--out", "-", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == "[0:00:00] שלום\n"
    assert not good.with_suffix(".txt").exists()
    assert moked(good, tmp_path / "absent.wav", monkeypatch=monkeypatch) == 1
    assert "failed: 1" in capsys.readouterr().err
    assert moked(good, monkeypatch=monkeypatch) == 0, "it is there already"
    assert "--force" in capsys.readouterr().err
    assert moked(good, "--format", "srt", "--out", tmp_path / "new", monkeypatch=monkeypatch) == 0
    assert "--> " in (tmp_path / "new" / "good.srt").read_text("utf-8")


# --- with real weights ------------------------------------------------------------------------------------------------

real = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (weights.available("silero-vad") and weights.available("whisper-base")),
        reason="`moked models install --all` brings the weights",
    ),
]


def run_moked(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "moked", "transcribe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


@pytest.mark.parametrize(
    ("band", "name", "said"),
    [("wideband", "misc/congratulation", "מזל טוב"), ("telephone", "colors/red", "אדום")],
)
@pytest.mark.parametrize("marks", [pytest.param((), marks=real)])
def test_a_persons_words_are_transcribed(tmp_path, band, name, said, marks):
    if not VOICES.is_dir():
        pytest.skip("the recorded Hebrew words are not here")
    options = ["--as-phone"] if band == "telephone" else []
    done = run_moked(VOICES / f"{name}.ogg", "--format", "json", "--out", tmp_path, *options)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / f"{Path(name).name}.json").read_text("utf-8"))
    assert (data["engine"], data["model"], data["audio"], data["speakers"]) == ("whisper", "base", band, [])
    (segment,) = data["segments"]
    assert 0 <= segment["start_ms"] < segment["end_ms"] <= data["duration_ms"] + 1
    assert 0 < segment["confidence"] <= 1
    assert character_errors(said, segment["text"], fold_plene=True).rate <= 0.5


@pytest.mark.anyio
@pytest.mark.parametrize("marks", [pytest.param((), marks=real)])
async def test_the_local_voice_is_transcribed(tmp_path, marks):
    if not all(weights.available(name) for name in parts.VOICE_WEIGHTS):
        pytest.skip("`moked models install --all` brings the voice")
    text = "שלום, אני צריך טכנאי למזגן מחר בבוקר"
    voice = parts.local_voice(load_settings(), voice="jm_kumo", gender="m")
    async with voice.running(), voice.speak(text) as pieces:
        sound = b"".join([piece async for piece in pieces])
    speech(tmp_path / "a.wav", silence(500) + sound + silence(500))
    options = Options(form=Format.JSON)
    settings = load_settings()
    done = Done()
    await transcribe.run(
        plan([tmp_path], options), transcribe.listener(settings, "whisper", options), settings, options, View(), done
    )
    assert done.finished == 1
    said = " ".join(one["text"] for one in json.loads((tmp_path / "a.json").read_text("utf-8"))["segments"])
    assert character_errors(text, said, fold_plene=True).rate <= 0.45


@pytest.fixture
def interruptible():
    """A job in the background of a shell ignores SIGINT, and so would every program that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("marks", [pytest.param((), marks=real)])
def test_an_interruption_keeps_what_is_finished_and_leaves_no_half(tmp_path, marks, interruptible):
    speech(tmp_path / "a.wav", silence(300) + says("שלום דנה") + silence(300))
    speech(tmp_path / "b.wav", (says("אני צריכה טכנאי למזגן") + silence(1200)) * 120)
    command = [sys.executable, "-m", "moked", "transcribe", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 90
        while not (tmp_path / "a.txt").exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "Finished transcripts are kept: 1" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "a.wav", "b.wav", "here"]


@pytest.mark.parametrize("marks", [pytest.param((), marks=real)])
def test_a_model_folder_that_holds_no_model_names_the_setting(tmp_path, monkeypatch, capsys, marks):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.bin").write_bytes(b"no")
    monkeypatch.setenv("WHISPER_MODEL", str(tmp_path / "model"))
    path = speech(tmp_path / "a.wav", silence(300) + says("שלום") + silence(300))
    assert moked(path, monkeypatch=monkeypatch) == 2
    assert "(WHISPER_MODEL) cannot be loaded" in " ".join(capsys.readouterr().err.split())
