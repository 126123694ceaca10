"""The keyless Hebrew voice, run in a process of its own by `moked.childproc`: text in, mu-law 8 kHz out.

    unpointed Hebrew -> Nakdimon (niqqud) -> phonikud (IPA) -> our phone choices -> Kokoro-82M -> 24 kHz -> 8 kHz mu-law

Everything here is heavy and blocking (about one CPU-second a second of speech), so it must never be imported by the
process that carries calls; `tts.local` is the door. The only file that loads onnxruntime for speech synthesis.

An ask is `{"text": str, "speed": float}`; `text` is already prepared for speech (no digits). Each clause is an answer
`{"audio": bytes}` as soon as it is rendered, with the pause that follows it. Where the Kokoro weights are missing the
same chain ends in espeak-ng instead: poor, but it speaks.
"""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import soxr
from numpy.typing import NDArray

from moked.audio import SAMPLE_RATE, from_float, silence
from moked.tts.clauses import clauses
from moked.tts.pronounce import SAID, mark

Samples = NDArray[np.float32]

# --- niqqud: Nakdimon's alphabet (elazarg/nakdimon, hebrew.py): index 0 pads, three special tokens, then letters -----

_LETTERS: Final = tuple(chr(code) for code in range(0x05D0, 0x05EB))
_ALPHABET: Final = ("", "H", "O", "5", *" !\"'(),-.:;?", *_LETTERS)
_INDEX: Final = {letter: index for index, letter in enumerate(_ALPHABET)}
_UNKNOWN: Final = _INDEX["O"]
_ALIASES: Final = {**dict.fromkeys("־–—−", "-"), **dict.fromkeys("׳’‘´", "'"), **dict.fromkeys("״“”", '"'), "…": ","}

# What each output class stands for; '' is "no mark" (the classes for padding and rafe).
_NIQQUD: Final = ("", "", *(chr(code) for code in range(0x05B0, 0x05BD)), "\u05b7")
_DAGESH: Final = ("", "", "\u05bc")
_SHIN_DOT: Final = ("", "", "\u05c1", "\u05c2")

_CAN_DAGESH: Final = frozenset("בגדהוזטיכלמנספצקשתךף")
_CAN_NIQQUD: Final = frozenset("אבגדהוזחטיכלמנסעפצקרשתךן")
_WORD: Final = re.compile(r"[א-ת]+")
_MARKS: Final = re.compile(r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c7]")


class Nakdimon:
    """Adds niqqud to modern Hebrew. Words that carry niqqud already keep their own, as do those we know better."""

    def __init__(self, model: Path, options: onnxruntime.SessionOptions) -> None:
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def point(self, text: str) -> str:
        words = text.split(" ")
        bare = [_MARKS.sub("", word) for word in words]
        pointed = self._point(" ".join(bare)).split(" ")
        kept = (
            word if word != plain else _WORD.sub(lambda match: SAID.get(match[0], match[0]), plain)
            for word, plain in zip(words, bare, strict=True)
        )
        return mark(
            " ".join(own if own != plain else dotted for own, plain, dotted in zip(kept, bare, pointed, strict=True))
        )

    def _point(self, text: str) -> str:
        if not text:
            return text
        indices = [_INDEX.get(_ALIASES.get(letter, letter), _UNKNOWN) for letter in text]
        batch = np.array([indices], dtype=np.float32)
        niqqud, dagesh, dot = (
            scores[0].argmax(axis=-1) for scores in self._session.run(["N", "D", "S"], {self._input: batch})
        )
        out: list[str] = []
        for at, letter in enumerate(text):
            out.append(letter)
            if letter in _CAN_DAGESH:
                out.append(_DAGESH[dagesh[at]])
            if letter == "ש":
                out.append(_SHIN_DOT[dot[at]])
            if letter in _CAN_NIQQUD:
                out.append(_NIQQUD[niqqud[at]])
        return "".join(out)


# --- phones -----------------------------------------------------------------------------------------------------------

# Chosen by having Whisper read the result: the glottal stop is heard as t, uvular r and x as noise.
_PHONES: Final = (("ts", "ʦ"), ("tʃ", "ʧ"), ("dʒ", "ʤ"), ("ʔ", ""), ("ʁ", "ɾ"), ("χ", "x"))
_LATIN: Final = {
    **dict(zip("abdefhijklmnopstuvwz", "abdefhijklmnopstuvwz", strict=True)),
    "c": "k", "g": "ɡ", "q": "k", "r": "ɾ", "x": "ks", "y": "i",
}  # fmt: skip


class Phones:
    """Pointed Hebrew to the IPA that Kokoro reads well. `folder` is the package phonikud, wherever it lies."""

    def __init__(self, folder: Path) -> None:
        if str(folder.parent) not in sys.path:
            sys.path.append(str(folder.parent))
        self._phonemize = importlib.import_module(folder.name).phonemize

    def __call__(self, pointed: str) -> str:
        """Latin words are sounded letter by letter, roughly."""
        ipa = self._phonemize(pointed, use_expander=False, fallback=_sound_latin)
        for before, after in _PHONES:
            ipa = ipa.replace(before, after)
        return re.sub(r"\s+", " ", ipa).strip()


def _sound_latin(word: str) -> str:
    return "".join(_LATIN.get(letter, "") for letter in word.lower())


# --- audio ------------------------------------------------------------------------------------------------------------

_TARGET_RMS: Final = 0.11  # of the voiced part; loud enough on a phone line without flattening it
_PEAK: Final = 0.707  # -3 dBFS
_EDGE_MS: Final = 60
_HOP: Final = 80  # 10 ms at 8 kHz


def finish(samples: Samples, rate: int) -> bytes:
    """Model output to mu-law 8 kHz: one loudness for every clause, peaks below -3 dBFS, about 60 ms of silent edges."""
    low = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ").astype(np.float32)
    hops = len(low) // _HOP
    if not hops:
        return b""
    level = np.sqrt(np.mean(np.square(low[: hops * _HOP].reshape(hops, _HOP)), axis=1))
    loudest = float(level.max())
    if loudest < 1e-4:
        return b""
    voiced = np.flatnonzero(level > max(0.02 * loudest, 1e-4))
    edge = _EDGE_MS // 10
    first, last = max(0, int(voiced[0]) - edge), min(hops, int(voiced[-1]) + 1 + edge)
    low = low[first * _HOP : last * _HOP]
    speech = level[level > 0.1 * loudest]
    gain = _TARGET_RMS / float(np.sqrt(np.mean(np.square(speech))))
    gain = min(gain, _PEAK / float(np.abs(low).max()))
    return from_float(low * np.float32(gain))


_PAUSE_MS: Final = {".": 240, "!": 240, "?": 260, ",": 90, ";": 140, ":": 140}


def _pause_after(clause: str) -> int:
    return _PAUSE_MS.get(clause.rstrip()[-1:], 30)


# --- the engines ------------------------------------------------------------------------------------------------------

_MAX_PHONES: Final = 500  # the voice has a style for each length up to 510
_KOKORO_RATE: Final = 24_000
# Alone, a short word comes out drawn and slurred (Whisper misheard four digits of ten). A style meant for a longer
# text, a full stop and more pace make the digits of a read-back clear: heard right, and 0.55 s each instead of 0.67.
_MIN_STYLE: Final = 30
_LONE_WORD_PACE: Final = 1.3


class Kokoro:
    """IPA to 24 kHz samples. `voice` is a name in voices.npz: an array of one style vector for each phone count."""

    def __init__(self, folder: Path, voice: str, options: onnxruntime.SessionOptions) -> None:
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with np.load(folder / "voices.npz") as voices:
            self._styles: Samples = voices[voice].astype(np.float32)

    def render(self, ipa: str, speed: float) -> Samples:
        tokens = [self._vocabulary[phone] for phone in ipa if phone in self._vocabulary][:_MAX_PHONES]
        style = self._styles[max(len(tokens), _MIN_STYLE)]
        feed = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": style.reshape(1, -1),
            "speed": np.array([speed], dtype=np.float32),
        }
        audio: Samples = self._session.run(["audio"], feed)[0].astype(np.float32).reshape(-1)
        return audio


# Our phones in espeak-ng's own letters, for its German table: the least bad of those measured.
_ESPEAK: Final = {
    "ʦ": "ts", "ʧ": "tS", "ʤ": "dZ", "ʃ": "S", "ʒ": "Z", "ɡ": "g", "ɾ": "r", "x": "x", "ˈ": "'",
    "e": "E", "a": "a:", "o": "o:", "i": "i:", "u": "u:", ",": "_:_", ".": "_:_:_",
}  # fmt: skip


def espeak_phonemes(ipa: str) -> str:
    return "[[" + "".join(_ESPEAK.get(phone, phone) for phone in ipa if phone not in "?!;:") + "]]"


def _espeak(binary: str, text: str, speed: float, *, phonemes: bool) -> tuple[Samples, int]:
    voice = "de" if phonemes else "he"
    command = [binary, "-v", voice, "-s", str(round(150 * speed)), "--stdout", "--stdin"]
    wav = subprocess.run(command, input=text.encode(), capture_output=True, check=True, timeout=30).stdout
    rate = int.from_bytes(wav[24:28], "little")
    start = wav.index(b"data") + 8
    pcm = np.frombuffer(wav[start : start + (len(wav) - start) // 2 * 2], dtype="<i2")
    return (pcm / 32768.0).astype(np.float32), rate


def serve(config: dict[str, Any]) -> Callable[[dict[str, Any]], Iterable[dict[str, Any]]]:
    """`config`: nakdimon (path or ''), phonikud (folder), kokoro (folder or ''), voice, threads, espeak (or '').

    Without `kokoro` the voice is espeak-ng; without `nakdimon` as well it reads plain text.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(config.get("threads", 1))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    phones = Phones(Path(config["phonikud"])) if config.get("nakdimon") else None
    nakdimon = Nakdimon(Path(config["nakdimon"]), options) if config.get("nakdimon") else None
    kokoro = Kokoro(Path(config["kokoro"]), config["voice"], options) if config.get("kokoro") else None
    espeak: str = config.get("espeak") or "espeak-ng"

    def samples(clause: str, speed: float) -> tuple[Samples, int] | None:
        if nakdimon is None or phones is None:
            return _espeak(espeak, clause, speed, phonemes=False)
        ipa = phones(nakdimon.point(clause.strip()))
        if not any(phone.isalpha() for phone in ipa):
            return None
        if kokoro is None:
            return _espeak(espeak, espeak_phonemes(ipa), speed, phonemes=True)
        if " " not in ipa:
            ipa, speed = ipa.rstrip(".,;:!") + ("" if ipa.endswith("?") else "."), speed * _LONE_WORD_PACE
        return kokoro.render(ipa, speed), _KOKORO_RATE

    def handle(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        pause = b""
        for clause in clauses(request["text"]):
            rendered = samples(clause, float(request["speed"]))
            audio = finish(*rendered) if rendered is not None else b""
            if audio:
                yield {"audio": pause + audio}
                pause = silence(_pause_after(clause))

    if kokoro is not None:
        for _ in handle({"text": "שלום", "speed": 1.0}):  # the first run allocates; nobody should wait for it
            pass
    return handle
