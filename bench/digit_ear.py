"""Teaches the net of `moked.stt.digit_ear` and writes src/moked/stt/digit_ear.npz: no recorded voice is in it.

    python -m bench.digit_ear FOLDER [--render-only] [--utterances 1000]

1. Kokoro says every digit in ten voices (four of its own and their mixes; jf_tebukuro is kept for tests), some rows of
   digits, and half of some fifty everyday answers. The clips are kept in FOLDER, so a second run is quick.
2. They are joined into utterances of one voice with random gaps, tempo, pitch, formants, line colour, level and noise
   (8 to 35 dB), and go through mu-law and the encoder of the embedded Whisper base (int8), as a call's audio does.
3. One hidden layer learns the state of every frame: first with digits cut evenly into five states, then twice more with
   the states where the net itself finds them. The last tenth of the utterances is never learned from; its errors
   are printed.

The same seed gives the same data; the weights then differ only by the arithmetic of the machine.
"""

import argparse
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.voices import HIDDEN_VOICE, Floats, colour, formants, level, noisy, pitch, stretch, trim
from moked import weights
from moked.audio import SAMPLES_PER_MS, from_float, to_float
from moked.stt.digit_ear import CLASSES, OTHER, SILENCE, STATES, DigitEar, log_softmax
from moked.stt.whisper_child import Ear
from moked.tts.kokoro_child import Kokoro, Nakdimon, Phones, finish

OUT: Final = Path(__file__).parents[1] / "src" / "moked" / "stt" / "digit_ear.npz"
VOICES: Final = ("jm_kumo", "jf_alpha", "jf_gongitsune", "jf_nezumi")
assert HIDDEN_VOICE not in VOICES

# Every digit as people say it, in IPA, the usual way first.
SAID: Final = (
    "ˈefes", "axˈat aχˈat exˈad", "ʃtˈajim ʃtˈaim ʃnˈajim", "ʃalˈoʃ ʃaloʃ ʃloʃˈa", "ˈaɾba aɾbˈa ˈaʁba aɾbaˈa",
    "xamˈeʃ χamˈeʃ xamiʃˈa", "ʃeʃ ʃˈeʃ ʃiʃˈa", "ʃˈeva ʃeva ʃivˈa", "ʃmˈone ʃmone ʃmonˈa", "tˈeʃa teʃa tiʃˈa",
)  # fmt: skip
SAID_WAYS: Final = tuple(tuple(ways.split()) for ways in SAID)

OTHERS: Final = (
    "אין לי טלפון", "למספר שממנו התקשרתי", "רגע אני מחפש", "אני לא רוצה לתת מספר", "המספר שלי הוא", "זה הנייד של אשתי",
    "אני לא יודע בעל פה", "כן", "לא", "סליחה", "טעות", "לא נכון", "בסדר גמור", "תודה רבה", "שלום", "עשרים ושלוש",
    "שלושים וארבע", "ארבעים וחמש", "חמישים ושתיים", "שישים ושש", "שבעים ושבע", "שמונים ותשע", "תשעים ואחת", "עשר",
    "אחת עשרה", "שתים עשרה", "שלוש עשרה", "שבע עשרה", "מאה עשרים", "מאתיים", "אלף שמונה מאות", "כפול שבע",
    "פעמיים אפס", "שלוש פעמים", "כוכבית", "קידומת", "בסוף", "קוראים לי דנה לוי", "מתי אתם פתוחים", "כמה זה עולה",
    "המזגן לא מקרר כבר יומיים", "אפשר לדבר עם נציג", "מה השעה אצלכם", "אני גר ברחוב הרצל", "תחזרו אליי מחר בבוקר",
    "חיפה והקריות", "הילדים בבית ספר", "למה אתם צריכים את זה", "שנייה אחת בבקשה", "אני מחפש את הדף",
    "אפשר שוב בבקשה", "הוא בעבודה עכשיו",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clip:
    """`digits`: what it says; empty for other speech."""

    voice: int
    digits: tuple[int, ...]
    sound: Floats


@dataclass(frozen=True, slots=True)
class Lesson:
    """An utterance as the encoder gives it, and where its clips are, in frames."""

    features: Floats
    spans: tuple[tuple[tuple[int, ...], int, int], ...]


# --- voices -------------------------------------------------------------------------------------------------------


def render(folder: Path, seed: int = 7) -> list[Clip]:
    """All clips, from FOLDER where they are there already."""
    store = folder / "clips.npz"
    if not store.exists():
        rng = np.random.default_rng(seed)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        kokoro = weights.path("kokoro")
        mouth = Kokoro(kokoro, VOICES[0], options)
        phones = Phones(weights.path("phonikud"))
        points = Nakdimon(weights.path("nakdimon"), options)
        with np.load(kokoro / "voices.npz") as styles:
            own = [styles[name].astype(np.float32) for name in VOICES]
        mixes = [(a + b) / 2 for a, b in itertools.combinations(own, 2)]
        kept: list[tuple[int, tuple[int, ...], bytes]] = []
        for voice, style in enumerate([*own, *mixes]):
            mouth._styles = style
            for digits, ipa, pace in _lines(rng, lambda text: phones(points.point(text))):
                kept.append((voice, digits, finish(mouth.render(ipa, pace), 24_000)))
            print(f"voice {voice + 1} of {len(own) + len(mixes)}: {len(kept)} clips", flush=True)
        np.savez(
            store,
            about=json.dumps([(voice, digits, len(audio)) for voice, digits, audio in kept]),
            audio=np.frombuffer(b"".join(audio for *_, audio in kept), np.uint8),
        )
    with np.load(store) as stored:
        audio, about = stored["audio"].tobytes(), json.loads(str(stored["about"]))
    clips, place = [], 0
    for voice, digits, size in about:
        clips.append(Clip(voice, tuple(digits), trim(to_float(audio[place : place + size]))))
        place += size
    return clips


def _lines(rng: np.random.Generator, spoken: Callable[[str], str]) -> list[tuple[tuple[int, ...], str, float]]:
    """(digits, IPA, pace) of everything one voice says."""
    lines: list[tuple[tuple[int, ...], str, float]] = []
    for digit, ways in enumerate(SAID_WAYS):
        for way, ipa in enumerate(ways):
            lines += [((digit,), f"{ipa}.", pace) for pace in ((1.0, 1.3) if way == 0 else (1.15,))]
    for _ in range(6):
        row = tuple(int(digit) for digit in rng.integers(0, 10, 5))
        between = (" ", ", ")[rng.integers(2)]
        said = [
            SAID_WAYS[digit][0] if rng.random() < 0.7 else SAID_WAYS[digit][rng.integers(len(SAID_WAYS[digit]))]
            for digit in row
        ]
        lines.append((row, between.join(said) + ".", float(rng.choice((1.0, 1.2)))))
    lines += [((), spoken(OTHERS[place]) + ".", 1.0) for place in rng.choice(len(OTHERS), 26, replace=False)]
    return lines


# --- utterances ---------------------------------------------------------------------------------------------------


def lesson(clips: Sequence[Clip], encoder: Ear, rng: np.random.Generator) -> Lesson:
    """One utterance of one voice on one line."""
    voice = clips[rng.integers(len(clips))].voice
    mine = [clip for clip in clips if clip.voice == voice]
    digits = [clip for clip in mine if len(clip.digits) == 1]
    rows = [clip for clip in mine if len(clip.digits) > 1]
    others = [clip for clip in mine if not clip.digits]

    def some(pool: Sequence[Clip], least: int, most: int) -> list[Clip]:
        return [pool[rng.integers(len(pool))] for _ in range(rng.integers(least, most))]

    kind = rng.random()
    if kind < 0.6:
        chosen = some(digits, 1, 11)
    elif kind < 0.7:
        chosen = some(rows, 2, 3)
    elif kind < 0.86:
        chosen = [some(digits if rng.random() < 0.6 else others, 1, 2)[0] for _ in range(rng.integers(2, 7))]
    else:
        chosen = some(others, 1, 4)
    semitones, tempo, throat = rng.uniform(-4, 4), rng.uniform(0.8, 1.35), rng.uniform(0.88, 1.14)
    widest, narrowest = (80, 0) if rng.random() < 0.35 else (400, 20)
    parts = [_quiet(rng, 100, 400)]
    spans: list[tuple[tuple[int, ...], int, int]] = []
    place = len(parts[0])
    for clip in chosen:
        sound = formants(stretch(clip.sound, tempo * rng.uniform(0.92, 1.08)), throat)
        sound = pitch(sound, semitones + rng.uniform(-0.7, 0.7))
        sound = sound * np.float32(0.11 / level(sound) * 10 ** (rng.uniform(-5, 5) / 20))
        gap = _quiet(rng, narrowest, widest)
        spans.append((clip.digits, round(place / 160), round((place + len(sound)) / 160)))
        parts += [sound, gap]
        place += len(sound) + len(gap)
    sound = np.concatenate([*parts, _quiet(rng, 100, 300)])
    if rng.random() < 0.7:
        sound = colour(sound, rng)
    if rng.random() < 0.9:
        sound = noisy(sound, rng.uniform(8, 35), rng, low=rng.random() < 0.5)
    sound = sound * np.float32(10 ** (rng.uniform(-10, 4) / 20))
    return Lesson(encoder.encoded(from_float(sound)), tuple(spans))


def _quiet(rng: np.random.Generator, least: int, most: int) -> Floats:
    return np.zeros(int(rng.integers(least, most)) * SAMPLES_PER_MS, np.float32)


# --- learning -----------------------------------------------------------------------------------------------------

Net = dict[str, NDArray[np.float32]]


def _scores(net: Net, features: Floats) -> Floats:
    out: Floats = np.maximum(0, features @ net["w1"] + net["b1"]) @ net["w2"] + net["b2"]
    return out


def targets(one: Lesson, net: Net | None) -> NDArray[np.int64]:
    """The state of every frame; -1 where it is not known yet."""
    out = np.full(len(one.features), SILENCE)
    logs = log_softmax(_scores(net, one.features)) - np.float32(0.6) * net["prior"] if net else None
    for digits, start, end in one.spans:
        here, wide = slice(start, min(end, len(out))), slice(max(0, start - 2), min(end + 2, len(out)))
        frames = here.stop - here.start
        if not digits:
            out[here] = OTHER
        elif logs is not None and frames > STATES * len(digits):
            out[wide] = aligned(logs[wide], digits)
        elif len(digits) == 1:
            out[here] = digits[0] * STATES + np.arange(frames) * STATES // max(1, frames)
        else:
            out[here] = -1
    return out


def aligned(logs: Floats, digits: Sequence[int]) -> NDArray[np.int64]:
    """The best path through known digits, with silence between them where there is some."""
    row = [SILENCE]
    for digit in digits:
        row += [digit * STATES + state for state in range(STATES)] + [SILENCE]
    states = np.array(row)
    skips = np.zeros(len(row), bool)
    skips[2:] = (states[1:-1] == SILENCE) & (states[2:] != SILENCE)
    value = np.full(len(row), -1e9)
    value[:2] = logs[0, states[:2]]
    steps = np.zeros((len(logs), len(row)), int)
    for at in range(1, len(logs)):
        one = np.concatenate(([-1e9], value[:-1]))
        two = np.where(skips, np.concatenate(([-1e9, -1e9], value[:-2])), -1e9)
        choice = np.stack((value, one, two))
        steps[at] = choice.argmax(axis=0)
        value = choice.max(axis=0) + logs[at, states]
    place = len(row) - 1 if value[-1] >= value[-2] else len(row) - 2
    path = [place]
    for at in range(len(logs) - 1, 0, -1):
        place -= steps[at, place]
        path.append(place)
    return states[path[::-1]]


def learn(inputs: Floats, wanted: NDArray[np.int64], *, hidden: int, epochs: int, seed: int = 0) -> Net:
    """Adam on cross-entropy, a fifth of the inputs dropped; the scaling of the inputs is folded into the weights."""
    rng = np.random.default_rng(seed)
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    width = inputs.shape[1]
    net: list[NDArray[np.float32]] = [
        rng.normal(0, width**-0.5, (width, hidden)).astype(np.float32), np.zeros(hidden, np.float32),
        rng.normal(0, hidden**-0.5, (hidden, CLASSES)).astype(np.float32), np.zeros(CLASSES, np.float32),
    ]  # fmt: skip
    first, second = [np.zeros_like(part) for part in net], [np.zeros_like(part) for part in net]
    batch, done = 512, 0
    total = epochs * (len(inputs) // batch)
    for _ in range(epochs):
        order = rng.permutation(len(inputs))
        right = 0
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            given = (inputs[chosen] - mean) / scale
            given = (given * (rng.random(given.shape) > 0.2) / 0.8).astype(np.float32)
            middle = np.maximum(0, given @ net[0] + net[1])
            error = np.exp(log_softmax(middle @ net[2] + net[3]))
            right += int((error.argmax(axis=1) == wanted[chosen]).sum())
            error[np.arange(batch), wanted[chosen]] -= 1
            error /= batch
            back = (error @ net[2].T) * (middle > 0)
            done += 1
            rate = 2e-3 * min(1.0, 1.2 * (total - done + 1) / total)
            for n, slope in enumerate((given.T @ back, back.sum(axis=0), middle.T @ error, error.sum(axis=0))):
                decayed = slope + 1e-4 * net[n]
                first[n] = 0.9 * first[n] + 0.1 * decayed
                second[n] = 0.999 * second[n] + 0.001 * decayed**2
                step = (first[n] / (1 - 0.9**done)) / (np.sqrt(second[n] / (1 - 0.999**done)) + 1e-8)
                net[n] = (net[n] - rate * step).astype(np.float32)
    print(f"  frames right in the last round: {right / (total // epochs * batch):.3f}", flush=True)
    folded = (net[0] / scale[:, None]).astype(np.float32)
    prior = np.log(np.bincount(wanted, minlength=CLASSES) / len(wanted) + 1e-4).astype(np.float32)
    return {"w1": folded, "b1": (net[1] - mean @ folded).astype(np.float32), "w2": net[2], "b2": net[3], "prior": prior}


def digit_errors(ear: DigitEar, lessons: Sequence[Lesson]) -> tuple[int, int, int]:
    """(errors, digits, digits heard in utterances that have none)."""
    errors = digits = invented = 0
    for one in lessons:
        wanted = [digit for said, *_ in one.spans for digit in said]
        heard = [item.digit for item in ear.hear(one.features) if item.digit is not None]
        if not wanted:
            invented += len(heard)
            continue
        row = list(range(len(heard) + 1))
        for i, a in enumerate(wanted, 1):
            above, row = row, [i]
            for j, b in enumerate(heard, 1):
                row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
        errors, digits = errors + row[-1], digits + len(wanted)
    return errors, digits, invented


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--render-only", action="store_true")
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--hidden", type=int, default=96)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    clips = render(given.folder)
    if given.render_only:
        return
    encoder = Ear(
        {"model": str(weights.path("whisper-base")), "language": "he", "compute_type": "int8", "cpu_threads": 1}
    )
    rng = np.random.default_rng(11)
    lessons = [lesson(clips, encoder, rng) for _ in range(given.utterances)]
    taught, kept = lessons[: len(lessons) * 9 // 10], lessons[len(lessons) * 9 // 10 :]
    net: Net | None = None
    for _ in range(3):
        aims = [targets(one, net) for one in taught]
        known = [aim >= 0 for aim in aims]
        net = learn(
            np.concatenate([one.features[at] for one, at in zip(taught, known, strict=True)]),
            np.concatenate([aim[at] for aim, at in zip(aims, known, strict=True)]),
            hidden=given.hidden,
            epochs=10,
        )
    assert net is not None
    small = {name: part.astype(np.float16) for name, part in net.items()}
    small["probe"] = encoder.probe().astype(np.float16)
    np.savez_compressed(given.out, **small)
    errors, digits, invented = digit_errors(DigitEar(small), kept)
    print(f"kept utterances: {errors} errors in {digits} digits; {invented} digits invented from other speech")


if __name__ == "__main__":
    main()
