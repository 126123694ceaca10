"""How well is Hebrew heard? Word and character errors of each engine, wideband and through the telephone's band.

    python -m bench.accuracy [FOLDER ...] [--engines whisper,google-batch] [--bands wide,phone] [--quick] [--out PLACE]

FOLDER holds recordings with their words: `name.txt` beside `name.wav`, or a manifest.csv, .tsv (columns `file` and
`text`) or .jsonl (`file` or `audio_filepath`, and `text`). Without one:

    recorded   single Hebrew words spoken by people, `he/` of GCompris-voices (GPL, not part of this project; where it
               is, says --recorded). bench/data/gcompris.tsv has the words; left out are those whose wording was not
               certain: V, awesome, click_on_letter, plus, welcome
    voice      the sentences in bench/data/sentences.txt, said by the embedded voice at 24 kHz and kept in the user's
               cache folder

A set or an engine that is not here is left out, with the reason in the results. Every clip gets 300 ms of silence
before and 200 ms after it, as the product's own cuts have. Errors are counted by `moked.stt.wer`, all words of a set
together; the interval is a 95 % bootstrap over its clips.
"""

import argparse
import csv
import hashlib
import json
import time
import wave
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np
import psutil
import soxr

from bench import page
from bench.stage import RESULTS, ROOT, machine, save
from moked import weights
from moked.audio import from_float
from moked.errors import MokedError
from moked.recordings import EXTENSIONS, open_recording
from moked.settings import Settings, load_settings
from moked.stt.wer import Errors, character_errors, word_errors
from moked.transcribe import ENGINES, Options, listener
from moked.tts.clauses import clauses
from moked.tts.hebrew import prepare
from moked.utterances import WIDE_RATE, Utterance

DATA: Final = ROOT / "bench" / "data"
RECORDED: Final = ROOT.parent / "shared" / "data" / "gcompris-he"
BANDS: Final = {"wide": "16 kHz", "phone": "8 kHz mu-law"}
LEAD_MS, TAIL_MS = 300, 200
ROUNDS: Final = 2000  # of the bootstrap


@dataclass(frozen=True)
class Clip:
    """Speech and what it says. `sound` is 16-bit at 16 kHz."""

    group: str
    name: str
    text: str
    sound: np.ndarray


@dataclass(frozen=True)
class Heard:
    clip: Clip
    text: str


# --- the sets ---------------------------------------------------------------------------------------------------------


def recorded(folder: Path) -> Iterator[Clip]:
    with (DATA / "gcompris.tsv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            yield Clip(f"recorded {row['set']}", row["file"], row["text"], read(folder / row["file"]))


def voice(settings: Settings, lines: Sequence[str]) -> Iterator[Clip]:
    """The embedded voice. About one CPU-second a second of speech, once."""
    folder = settings.models_root.parent / "bench"
    say: Callable[[str], np.ndarray] | None = None
    for line in lines:
        kept = folder / f"{hashlib.sha256(f'jm_kumo/1/{line}'.encode()).hexdigest()[:24]}.wav"
        if not kept.exists():
            say = say or speaker(settings)
            folder.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(".part")
            with wave.open(str(part), "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(WIDE_RATE)
                out.writeframes(say(line).tobytes())
            part.replace(kept)
        yield Clip("voice", line, line, read(kept))


def speaker(settings: Settings) -> Callable[[str], np.ndarray]:
    """Text to 16 kHz: the product's voice before it is brought to telephone audio."""
    import onnxruntime

    from moked.tts.kokoro_child import Kokoro, Nakdimon, Phones

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    root = settings.models_root
    pointed = Nakdimon(weights.path("nakdimon", root=root), options)
    phones = Phones(weights.path("phonikud", root=root))
    kokoro = Kokoro(weights.path("kokoro", root=root), "jm_kumo", options)

    def say(text: str) -> np.ndarray:
        pause = np.zeros(24_000 // 10, dtype=np.float32)
        parts: list[np.ndarray] = []
        for clause in clauses(prepare(text)):
            parts += [kokoro.render(phones(pointed.point(clause)), 1.0), pause]
        sound = soxr.resample(np.concatenate(parts), 24_000, WIDE_RATE)
        return (np.clip(sound * (0.5 / np.abs(sound).max()), -1, 1) * 32767).astype("<i2")

    return say


def folder_of(path: Path) -> Iterator[Clip]:
    """Recordings with their words, of any origin."""
    rows = list(_manifest(path)) or [
        (sound, words.read_text("utf-8"))
        for sound in sorted(path.rglob("*"))
        if sound.suffix.lower() in EXTENSIONS and (words := sound.with_suffix(".txt")).is_file()
    ]
    if not rows:
        raise MokedError(f"{path}: no recording with its words: name.txt beside name.wav, or a manifest")
    for sound, text in rows:
        yield Clip(path.name, str(sound.relative_to(path)), text, read(sound))


def _manifest(path: Path) -> Iterator[tuple[Path, str]]:
    for name, mark in (("manifest.csv", ","), ("manifest.tsv", "\t")):
        if (path / name).is_file():
            with (path / name).open(encoding="utf-8-sig", newline="") as table:
                for row in csv.DictReader(table, delimiter=mark):
                    yield path / row["file"], row["text"]
            return
    if (path / "manifest.jsonl").is_file():
        for line in (path / "manifest.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            yield path / (row.get("file") or row["audio_filepath"]), row["text"]


def read(path: Path) -> np.ndarray:
    with open_recording(path, mix=True) as recording:
        return np.concatenate(list(recording.blocks(WIDE_RATE)), axis=1)[0]


# --- hearing ----------------------------------------------------------------------------------------------------------


def utterance(clip: Clip) -> Utterance:
    lead, tail = (np.zeros(ms * WIDE_RATE // 1000, dtype=np.int16) for ms in (LEAD_MS, TAIL_MS))
    wide = np.concatenate([lead, clip.sound, tail])
    narrow = soxr.resample(wide.astype(np.float32) / 32768, WIDE_RATE, 8000)
    return Utterance(0, 0, len(wide) * 1000 // WIDE_RATE, wide.tobytes(), from_float(narrow))


async def hear(settings: Settings, engine: str, band: str, clips: Sequence[Clip]) -> tuple[str, dict[str, Any]]:
    """The model's name, and for each set of clips what was heard and what it cost."""
    who = listener(settings, engine, Options(as_phone=band == "phone"))
    found: dict[str, Any] = {}
    async with who.running():
        for group in dict.fromkeys(clip.group for clip in clips):
            heard: list[Heard] = []
            cpu, started, audio_ms = _cpu_s(), time.monotonic(), 0
            for clip in clips:
                if clip.group == group:
                    said = utterance(clip)
                    audio_ms += said.end_ms
                    heard.append(Heard(clip, (await who.hear(said)).text))
            found[group] = {
                "heard": heard,
                "audio_s": round(audio_ms / 1000, 1),
                "wall_s": round(time.monotonic() - started, 1),
                "cpu_per_audio_s": round((_cpu_s() - cpu) / (audio_ms / 1000), 3),
            }
            print(f"{engine}, {band}, {group}: {len(heard)} clips", flush=True)
        return who.model(), found


def _cpu_s() -> float:
    """Of this process and those it started."""
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (me, *me.children(recursive=True)))


# --- figures ----------------------------------------------------------------------------------------------------------


def figures(heard: Sequence[Heard]) -> dict[str, Any]:
    """Rates with their intervals, plain and with plene spelling folded."""
    result: dict[str, Any] = {"n": len(heard), "nothing_heard": sum(not one.text.strip() for one in heard)}
    for name, errors in (("wer", word_errors), ("cer", character_errors)):
        for fold in (False, True):
            each = [errors(one.clip.text, one.text, fold_plene=fold) for one in heard]
            result[f"{name}_folded" if fold else name] = rate(each)
    result["words"] = sum(word_errors(one.clip.text, "").length for one in heard)
    return result


def rate(each: Sequence[Errors]) -> dict[str, float]:
    """All errors over all words (or letters), and where that lies in 95 % of samples drawn with repetition."""
    edits = np.array([one.edits for one in each], dtype=np.float64)
    lengths = np.array([one.length for one in each], dtype=np.float64)
    drawn = np.random.default_rng(1).integers(0, len(each), (ROUNDS, len(each)))
    low, high = np.percentile(edits[drawn].sum(axis=1) / lengths[drawn].sum(axis=1), [2.5, 97.5])
    value = edits.sum() / lengths.sum()
    return {"rate": round(float(value), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def gather(options: argparse.Namespace, settings: Settings) -> tuple[list[Clip], dict[str, str]]:
    """The clips, and why what is missing is missing."""
    clips: list[Clip] = []
    missing: dict[str, str] = {}

    def take(name: str, found: Iterable[Clip]) -> None:
        try:
            taken = list(found)
        except MokedError as problem:
            missing[name] = str(problem).partition(" in ")[0] if name == "voice" else str(problem)
        else:
            clips.extend(one for at, one in enumerate(taken) if not options.quick or at % 20 == 0)

    if options.folders:
        for folder in options.folders:
            take(folder.name, folder_of(folder))
        return clips, missing
    if options.recorded.is_dir():
        take("recorded", recorded(options.recorded))
    else:
        missing["recorded"] = "GCompris-voices is not here (--recorded FOLDER)"
    lines = (DATA / "sentences.txt").read_text("utf-8").splitlines()
    take("voice", voice(settings, lines[:2] if options.quick else lines))
    return clips, missing


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    settings = load_settings()
    clips, missing = gather(options, settings)
    result: dict[str, Any] = {"machine": machine("python -m bench.accuracy"), "missing": missing, "rows": []}
    for engine in options.engines:
        for band in options.bands:
            if band == "wide" and engine.startswith("google"):
                continue  # it is given telephone audio only
            try:
                model, found = await hear(settings, engine, band, clips)
            except MokedError as problem:
                missing[engine] = str(problem)
                break
            for group, one in found.items():
                heard = one.pop("heard")
                row = {"engine": engine, "model": model, "set": group, "band": band, **figures(heard), **one}
                if options.texts or not options.folders:
                    row["texts"] = [[item.clip.text, item.text] for item in heard]
                result["rows"].append(row)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--engines", type=lambda names: names.split(","), default=list(ENGINES))
    parser.add_argument("--bands", type=lambda names: names.split(","), default=list(BANDS))
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--texts", action="store_true", help="keep what was said and heard of FOLDER in the results")
    parser.add_argument("--quick", action="store_true", help="a clip in twenty: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    result = anyio.run(measure, options, backend_options={"use_uvloop": True})
    print(page.accuracy(result))
    own = not options.quick and not options.folders
    if options.out or own:
        save(options.out or RESULTS, "accuracy", result)
    if not options.out and own:
        page.write()


if __name__ == "__main__":
    main()
