"""When does the ear hear speech? Real Hebrew words through telephone audio, the misses and inventions counted.

    python bench/vad_threshold.py [FOLDER] [--model silero_vad.onnx] [--out bench/results/vad_threshold.json]

FOLDER holds `he/` of GCompris-voices (single words spoken by people, Ogg; GPL, not part of this project): `alphabet/`,
`colors/`, `misc/`. Without it the script says so and ends well. Each word is brought to 8 kHz mu-law with a pause
before it, in three conditions: as recorded over a quiet line, 12 dB softer, and with low-passed noise 15 dB below the
speech. "as is" is the network from its zero state, never woken again (see `media/wakeup.py`). Three minutes each of
noises without any speech follow: every start there is an invention. What counts as the word is told by the energy of
the clean recording (within 30 dB of its loudest 20 ms).

missed: no stretch of speech touches the word. short: those of at most 550 ms among them. false: a stretch that touches
no word. cut: more than one stretch in a word. late: from the word's first sound to the stretch's at_ms (its backdated
start). known: from the word's first sound to the moment the gate says so. end: from the word's last sound to at_ms of
the end. All ms, median / 95th percentile.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import av
import numpy as np
import soxr

from moked import audio
from moked.media.speech import (
    WINDOW_MS,
    WINDOW_SAMPLES,
    SpeechEnded,
    SpeechGate,
    SpeechPaused,
    SpeechPolicy,
    SpeechStarted,
)
from moked.media.vad import CONTEXT, Quiet, SileroVad, levels_db

PAUSE_MS = 900
SHORT_MS = 550
MARGIN_MS = 120  # a stretch this near to a word belongs to it: the breath, the decay
SPEECH_DBFS = -23.0


@dataclass
class Word:
    name: str
    start_ms: int
    end_ms: int


def decode(path: Path) -> np.ndarray:
    """8 kHz float mono."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate([frame.mean(axis=0) for frame in frames]).astype(np.float32)
    return soxr.resample(samples, rate, audio.SAMPLE_RATE, quality="HQ")


def span(samples: np.ndarray) -> tuple[int, int]:
    """Where the word is in its recording, ms."""
    step = 20 * audio.SAMPLES_PER_MS
    levels = [float(np.sqrt(np.mean(samples[i : i + step] ** 2))) for i in range(0, len(samples) - step, step // 2)]
    loud = [i for i, level in enumerate(levels) if level > max(levels) * 10 ** (-30 / 20)]
    return loud[0] * 10, loud[-1] * 10 + 20


def recording(folder: Path) -> tuple[np.ndarray, list[Word]]:
    """All words in one signal, pauses between them, speech at SPEECH_DBFS."""
    pause = np.zeros(PAUSE_MS * audio.SAMPLES_PER_MS, dtype=np.float32)
    parts, words, energy, length = [pause], [], [], len(pause)
    for path in sorted(folder.rglob("*.ogg")):
        samples = decode(path)
        start, end = span(samples)
        at = length // audio.SAMPLES_PER_MS
        words.append(Word(path.stem, at + start, at + end))
        energy.append(samples[start * 8 : end * 8])
        parts += [samples, pause]
        length += len(samples) + len(pause)
    speech = float(np.sqrt(np.mean(np.concatenate(energy) ** 2)))
    return np.concatenate(parts) * (10 ** (SPEECH_DBFS / 20) / speech), words


def conditions(clean: np.ndarray) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    line = random.normal(0, 10 ** (-68 / 20), len(clean)).astype(np.float32)
    noise = np.convolve(random.normal(0, 1, len(clean)), np.ones(4) / 4, mode="same").astype(np.float32)
    noise *= 10 ** ((SPEECH_DBFS - 15) / 20) / float(np.sqrt(np.mean(noise**2)))
    return {"quiet line": clean + line, "12 dB softer": clean * 10 ** (-12 / 20) + line, "noise 15 dB": clean + noise}


def noises(seconds: int = 180) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    n = seconds * audio.SAMPLE_RATE
    time = np.arange(n) / audio.SAMPLE_RATE
    white = random.normal(0, 1, n)
    clicks = np.convolve(
        random.random(n) < 300 / n, np.exp(-np.arange(160) / 20) * random.normal(0, 1, 160), mode="same"
    )
    sounds = {
        "line -65": (white, -65),
        "white -38": (white, -38),
        "low-passed -38": (np.convolve(white, np.ones(4) / 4, mode="same"), -38),
        "pink -35": (np.fft.irfft(np.fft.rfft(white) / np.maximum(1, np.sqrt(np.arange(n // 2 + 1)))), -35),
        "hum -35": (sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3, 5, 7)), -35),
        "clicks -40": (clicks, -40),
    }
    return {
        name: (sound / np.sqrt(np.mean(sound**2)) * 10 ** (level / 20)).astype(np.float32)
        for name, (sound, level) in sounds.items()
    }


Windows = list[tuple[float, float]]  # probability and level of each


def windows(model: SileroVad, samples: np.ndarray, *, awake: bool = True) -> Windows:
    """As the batcher and the ear do it; not `awake`: from the zero state and never refreshed."""
    heard = audio.to_float(audio.from_float(samples))
    fresh = model.awake.reshape(2, 1, -1) if awake else np.zeros((2, 1, 128), dtype=np.float32)
    state, quiet = fresh, Quiet()
    padded = np.concatenate([np.zeros(CONTEXT, dtype=np.float32), heard])
    found = []
    for start in range(0, len(heard) - WINDOW_SAMPLES, WINDOW_SAMPLES):
        row = padded[start : start + CONTEXT + WINDOW_SAMPLES].reshape(1, -1)
        probability, state = model.infer(row, state)
        found.append((float(probability[0]), float(levels_db(row[:, CONTEXT:])[0])))
        if awake and quiet.passed(found[-1][0]):
            state = fresh
    return found


@dataclass
class Stretch:
    start_ms: int
    known_ms: int
    end_ms: int


def stretches(values: Windows, policy: SpeechPolicy) -> list[Stretch]:
    gate, found = SpeechGate(policy), []
    for value in values:
        match gate.feed(*value):
            case SpeechStarted(at_ms):
                found.append(Stretch(at_ms, gate.now_ms, gate.now_ms))
            case SpeechPaused():
                pass
            case SpeechEnded(at_ms):
                found[-1].end_ms = at_ms
    return found


def score(found: list[Stretch], words: list[Word], minutes: float) -> dict[str, object]:
    mine: dict[int, list[Stretch]] = {i: [] for i in range(len(words))}
    false = 0
    for stretch in found:
        owners = [
            i
            for i, word in enumerate(words)
            if stretch.start_ms < word.end_ms + MARGIN_MS and stretch.end_ms > word.start_ms - MARGIN_MS
        ]
        if not owners:
            false += 1
        for i in owners:
            mine[i].append(stretch)
    hit = [(words[i], own) for i, own in mine.items() if own]
    short = [i for i, word in enumerate(words) if word.end_ms - word.start_ms <= SHORT_MS]

    def two(values: list[int]) -> list[int]:
        return [int(np.percentile(values, 50)), int(np.percentile(values, 95))] if values else []

    return {
        "words": len(words),
        "missed": len(words) - len(hit),
        "missed_names": [words[i].name for i, own in mine.items() if not own],
        "short": len(short),
        "short_missed": sum(not mine[i] for i in short),
        "false": false,
        "false_per_minute": round(false / minutes, 2),
        "cut": sum(len(own) > 1 for _, own in hit),
        "late_ms": two([own[0].start_ms - word.start_ms for word, own in hit]),
        "known_ms": two([own[0].known_ms - word.start_ms for word, own in hit]),
        "end_ms": two([own[-1].end_ms - word.end_ms for word, own in hit]),
    }


def main() -> int:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=here.parent.parent / "shared/data/gcompris-he")
    default = Path.home() / ".cache/moked/models/silero-vad/silero_vad.onnx"
    parser.add_argument("--model", type=Path, default=default)
    parser.add_argument("--out", type=Path, default=here / "results/vad_threshold.json")
    args = parser.parse_args()
    if not args.folder.is_dir():
        print(f"skipped: no recordings in {args.folder}")
        return 0
    clean, words = recording(args.folder)
    minutes = len(clean) / audio.SAMPLE_RATE / 60
    model = SileroVad(args.model)
    sounds = conditions(clean)
    sounds = conditions(clean)
    heard = {name: windows(model, samples) for name, samples in sounds.items()}
    asleep = {f"{name}, as is": windows(model, samples, awake=False) for name, samples in sounds.items()}
    speechless = {name: windows(model, samples) for name, samples in noises().items()}
    base = SpeechPolicy()
    sweeps = {
        "start": (
            [replace(base, start=p, end=min(p, base.end)) for p in (0.15, 0.2, 0.25, 0.3, 0.4, 0.5)],
            heard | asleep,
        ),
        "end": ([replace(base, end=p) for p in (0.05, 0.1, 0.15, 0.2, 0.25)], heard),
        "start_above_db": (
            [replace(base, start_above_db=d, end_above_db=d / 2) for d in (-99.0, 3.0, 6.0, 9.0, 12.0)],
            heard,
        ),
        "start_windows": ([replace(base, start_windows=n) for n in (1, 2, 3, 4)], heard),
        "end_windows": ([replace(base, end_windows=n) for n in (2, 3, 4, 5, 6, 8)], heard),
    }
    print(f"{len(words)} words, {minutes:.1f} minutes; defaults {asdict(base)}")
    head = f"{'':22}{'condition':22}{'missed':>7}{'short':>7}{'false':>7}{'cut':>5}{'late':>12}{'known':>12}{'end':>12}"
    rows = []
    for sweep, (policies, heards) in sweeps.items():
        print(f"\n{head}")
        for policy in policies:
            for condition, values in heards.items():
                result = score(stretches(values, policy), words, minutes)
                rows.append({"sweep": sweep, "condition": condition, "policy": asdict(policy), **result})
                pairs = "".join(f"{'/'.join(map(str, result[key])):>12}" for key in ("late_ms", "known_ms", "end_ms"))
                print(
                    f"{sweep + ' ' + str(getattr(policy, sweep)):22}{condition:22}{result['missed']:>7}"
                    f"{result['short_missed']:>4}/{result['short']:<2}{result['false']:>7}{result['cut']:>5}{pairs}"
                )
            inventions = {name: len(stretches(values, policy)) for name, values in speechless.items()}
            rows.append({"sweep": sweep, "condition": "no speech", "policy": asdict(policy), "false": inventions})
            print(f"{'':22}no speech, starts in 3 minutes: {', '.join(f'{k}: {v}' for k, v in inventions.items())}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(
        json.dumps(
            {"source": "GCompris-voices he", "window_ms": WINDOW_MS, "defaults": asdict(base), "rows": rows},
            ensure_ascii=False,
            indent=1,
        )
    )
    print(f"\nwritten: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
