"""Is a telephone number that a person says in Hebrew written down right? Recorded digits, 8 kHz, the embedded Whisper.

    python -m bench.phone_numbers FOLDER [--numbers 100] [--out bench/results/phone_numbers.json]

FOLDER holds `he/` of GCompris-voices (words spoken by people, Ogg; GPL, not part of this project); its
`alphabet/U0030.ogg` to `U0039.ogg` are the digits. Without it the script says so and ends well.

Held out: the net that hears numbers (`bench/digit_ear.py`) was taught with four synthetic voices and their mixes, and
its thresholds were set on those. No recording of a person and no transcript of one went into it, and none of its joins
is used here: the numbers, gaps, levels and noises come from this file's own seed. While it was made, totals over joins
of these recordings, in the end with this seed too, were looked at to see whether a version was better; no weight or
threshold was fitted to them.
The *snap* of the dialogue's text rules (`dialog/spoken_phone.py`) was written after seeing what Whisper makes of these
recordings. So dialogues are also held with the snap switched off (`net, no snap`): what the net leaves to the decoder's
text then counts only where it is spelt right. That is the held-out figure.

Conditions: `recorded` (random gaps of 60 to 350 ms, levels +-4 dB, noise 30 dB below), the same digits two semitones
up and down, `hurried` (gaps of 0 to 60 ms), at 0.85 and 1.2 of their tempo, with noise 20 and 15 dB below, and
`unseen voice`: a synthetic one that nothing was taught with. Numbers are random and valid, mobile and landline.

Hearings (whole numbers right, digit errors by edit distance):
    exact        the decoder's text, only correctly spelt number words
    snap         the decoder's text, words snapped to the nearest number word
    constrained  the decoder may only write number words; five hypotheses, the first that is a valid number
    net          what `Ear.hear` says when a number is asked for
Dialogues: the scripted agent asks, reads back and is corrected. The caller says the number in a row, or in groups of
3-3-4 or 3-2-2-2-1 with pauses of about a second (each an utterance of its own); after a "no", or when the agent has it
incomplete, digit by digit. Utterances are cut by the real `Cutter`. "Yes" and "no" are given as text, for nobody
recorded them. Right means: the right number, confirmed, within the script's tries, without the keypad.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnxruntime
from faster_whisper.audio import decode_audio

from bench.stage import machine
from bench.voices import HIDDEN_VOICE, Floats, level, noisy, pitch, stretch, trim
from moked import weights
from moked.audio import SAMPLES_PER_MS, from_float, to_float
from moked.crm.phone import national, to_e164
from moked.dialog import Ask, CallContext, CallerTurn, Expect, Say
from moked.dialog.business import load_business
from moked.dialog.script import ScriptAgent, ScriptAgents
from moked.dialog.spoken_phone import NUMBER_WORDS, phone
from moked.dialog.words import words
from moked.stt.cuts import Cutter
from moked.stt.digit_ear import BESIDE
from moked.stt.whisper_child import Ear
from moked.tts.kokoro_child import Kokoro, Nakdimon, Phones, finish

OUT: Final = Path(__file__).parent / "results" / "phone_numbers.json"
SEED: Final = 31_415
SPOKEN: Final = ("ˈefes", "axˈat", "ʃtˈajim", "ʃalˈoʃ", "ˈaɾba", "xamˈeʃ", "ʃeʃ", "ʃˈeva", "ʃmˈone", "tˈeʃa")
FREE_ANSWERS: Final = (
    "למספר שממנו התקשרתי", "רגע אני מחפש", "אין לי טלפון", "אני לא רוצה לתת מספר", "שכחתי את המספר שלי",
    "אשתי תתקשר אליכם", "לא יודע", "תחפשו אותי במחשב", "זה אותו מספר כמו קודם", "אני מעדיף לא להגיד",
)  # fmt: skip
CONDITIONS: Final[dict[str, dict[str, Any]]] = {
    "recorded": {}, "2 semitones up": {"semitones": 2}, "2 semitones down": {"semitones": -2},
    "hurried": {"longest_gap": 60, "shortest_gap": 0}, "tempo 0.85": {"tempo": 0.85}, "tempo 1.2": {"tempo": 1.2},
    "noise 20 dB": {"snr": 20}, "noise 15 dB": {"snr": 15},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mouth:
    """A way of saying digits: the clips of a speaker, and what is done to them."""

    digits: Sequence[Floats]
    semitones: float = 0
    tempo: float = 1
    snr: float = 30
    shortest_gap: int = 60
    longest_gap: int = 350

    def say(self, groups: Sequence[str], rng: np.random.Generator, *, slowly: bool = False) -> list[bytes]:
        """The utterances as the `Cutter` cuts them: one digit after the other, a long pause between groups."""
        parts = [_quiet(500)]
        marks: list[tuple[int, int]] = []
        place = len(parts[0])
        for group in groups:
            for digit in group:
                sound = pitch(stretch(self.digits[int(digit)], self.tempo), self.semitones)
                sound = sound * np.float32(0.11 / level(sound) * 10 ** (rng.uniform(-4, 4) / 20))
                gap = _quiet(
                    int(rng.integers(350, 600) if slowly else rng.integers(self.shortest_gap, self.longest_gap))
                )
                marks.append((place, place + len(sound)))
                parts += [sound, gap]
                place += len(sound) + len(gap)
            parts.append(_quiet(int(rng.integers(800, 1100))))
            place += len(parts[-1])
        audio = from_float(noisy(np.concatenate(parts), self.snr, rng))
        cutter = Cutter(0)
        fed = 0
        for start, end in marks:
            for at, mark in ((start, cutter.speech_started), (end, cutter.speech_ended)):
                cutter.feed(audio[fed : at + 2400])
                fed = max(fed, at + 2400)
                mark(at // SAMPLES_PER_MS)
        cutter.feed(audio[fed:])
        cutter.finish()
        cuts = []
        while (cut := cutter.next_cut()) is not None:
            cuts.append(cut.audio)
        return cuts


def _quiet(ms: int) -> Floats:
    return np.zeros(ms * SAMPLES_PER_MS, np.float32)


def number(rng: np.random.Generator) -> str:
    """A valid number as people write it: seven of ten mobile, two landline, one 07x."""
    kind = rng.random()
    prefix = f"05{rng.integers(10)}" if kind < 0.7 else f"07{rng.integers(10)}" if kind > 0.9 else ""
    return (prefix or str(rng.choice(("02", "03", "04", "08", "09")))) + "".join(map(str, rng.integers(0, 10, 7)))


def recorded(folder: Path) -> list[Floats]:
    return [
        trim(decode_audio(str(folder / "he" / "alphabet" / f"U003{digit}.ogg"), sampling_rate=8000))
        for digit in range(10)
    ]


# --- hearing ------------------------------------------------------------------------------------------------------


class Hearing:
    """One model, heard in four ways."""

    def __init__(self) -> None:
        folder = str(weights.path("whisper-base"))
        config = {"model": folder, "language": "he", "compute_type": "int8", "cpu_threads": 1}
        self.ear, self.plain = Ear(config), Ear(config)
        self.ear.warm_up()
        self.plain.warm_up()
        assert self.ear._digits is not None, "the net does not fit this model"
        self.plain._digits = None
        tokenizer = self.ear._tokenizer
        allowed = {tokenizer.eot}
        for word in (*NUMBER_WORDS, "כפול", "לא", "סליחה", "פלוס", "כוכבית"):
            for form in (word, f" {word}", f" {word},", f"{word},"):
                allowed.update(tokenizer.encode(form))
        self._forbidden = [token for token in range(tokenizer.eot) if token not in allowed]
        self.cpu: dict[str, list[float]] = {}

    def _timed(self, way: str, work: Callable[[], str]) -> str:
        started = time.process_time()
        text = work()
        self.cpu.setdefault(way, []).append(time.process_time() - started)
        return text

    def net(self, audio: bytes, expect: str = "phone") -> str:
        return self._timed("net", lambda: str(self.ear.hear(audio, [], expect)["text"]))

    def net_without_snap(self, audio: bytes, expect: str = "phone") -> str:
        """What the net leaves to the decoder counts only where it is spelt right."""
        text = self.net(audio, expect)
        known = [word for word in words(text) if word in NUMBER_WORDS or word in BESIDE or word.isdecimal()]
        return " ".join(known) or "אהה"

    def free(self, audio: bytes, expect: str = "phone") -> str:
        return self._timed("free", lambda: str(self.plain.hear(audio, [], expect)["text"]))

    def constrained(self, audio: bytes) -> str:
        return self._timed("constrained", lambda: self._constrained(audio))

    def _constrained(self, audio: bytes) -> str:
        import soxr

        ear = self.plain
        wide = soxr.resample(to_float(audio), 8000, 16_000)
        prompt = ear._model.get_prompt(ear._tokenizer, [], without_timestamps=True)
        result = ear._model.model.generate(
            ear._encode(wide), [prompt], beam_size=8, num_hypotheses=5, max_length=len(prompt) + 80,
            suppress_tokens=[*ear._suppress, *self._forbidden],
        )[0]  # fmt: skip
        texts = [ear._tokenizer.decode(tokens).strip() for tokens in result.sequences_ids]
        return next((text for text in texts if phone(text).complete), texts[0])


def exact(text: str) -> str:
    """Digits of correctly spelt words alone."""
    return phone(" ".join(word for word in words(text) if word in NUMBER_WORDS or word.isdecimal()) or "-").digits


def edits(wanted: str, heard: str) -> tuple[int, Counter[str]]:
    """Edit distance, and for each digit of `wanted` how often it was lost or taken for another."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(heard) + 1)] for i in range(len(wanted) + 1)]
    for i, a in enumerate(wanted, 1):
        for j, b in enumerate(heard, 1):
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
    wrong: Counter[str] = Counter()
    i, j = len(wanted), len(heard)
    while i and j:
        if table[i][j] == table[i - 1][j - 1] + (wanted[i - 1] != heard[j - 1]):
            wrong[wanted[i - 1]] += wanted[i - 1] != heard[j - 1]
            i, j = i - 1, j - 1
        elif table[i][j] == table[i - 1][j] + 1:
            wrong[wanted[i - 1]] += 1
            i -= 1
        else:
            j -= 1
    for digit in wanted[:i]:
        wrong[digit] += 1
    return table[-1][-1], +wrong


# --- dialogues ----------------------------------------------------------------------------------------------------


@dataclass
class Caller:
    """Knows the number, answers the agent's questions about it."""

    digits: str
    mouth: Mouth
    rng: np.random.Generator
    style: tuple[int, ...]
    hear: Callable[[bytes, str], str]
    waiting: list[str] = field(default_factory=list)  # groups of the style that were not said yet
    began: bool = False
    hearings: int = 0
    refused: set[str | None] = field(default_factory=set)
    proposed_again: int = 0  # refused numbers that were read back once more
    by_decoder: int = 0  # hearings that the net left to the decoder's text

    def dictate(self, asked: str, agent_has: str, expect: str) -> str:
        """What the agent hears of the answer to `asked`: the rest where it wants the rest, else all of it again."""
        if not self.began:
            self.began = True
            edges = [sum(self.style[:n]) for n in range(len(self.style) + 1)]
            self.waiting = [self.digits[a:b] for a, b in pairwise(edges) if self.digits[a:b]]
        if self.waiting and self.digits.startswith(agent_has + self.waiting[0]):
            said, slowly = self.waiting.pop(0), False
        else:
            self.waiting, slowly = [], True
            said = self.digits.removeprefix(agent_has) if "ההמשך" in asked else self.digits
        texts = [self.hear(cut, expect) for cut in self.mouth.say([said], self.rng, slowly=slowly)]
        self.hearings += len(texts)
        self.by_decoder += sum(not text.replace(" ", "").isdecimal() for text in texts)
        return " ".join(texts)


def _answer(agent: ScriptAgent, turn: CallerTurn) -> tuple[str, Expect]:
    reply = agent.reply(turn, ())

    async def collect() -> list[Any]:
        async with reply.actions() as found:
            return [action async for action in found]

    try:
        collect().send(None)
        raise AssertionError("the scripted agent waited")
    except StopIteration as done:
        actions = done.value
    reply.commit()
    said = "".join(action.text for action in actions if isinstance(action, Say))
    return said, next(action.expect for action in actions if isinstance(action, Ask))


def dialogue(agents: ScriptAgents, caller: Caller) -> tuple[bool, int]:
    """(whether the number ended right, turns it took)."""
    now = datetime(2026, 11, 24, 10, tzinfo=ZoneInfo("Asia/Jerusalem"))
    agent = agents(CallContext("CA" + "0" * 32, "", now))
    assert isinstance(agent, ScriptAgent)
    agent.greet().commit()
    for count, text in enumerate(("יש לי נזילה במטבח", "קוראים לי דני לוי"), 1):
        said, expect = _answer(agent, CallerTurn(count, text))
    assert expect is Expect.PHONE, said
    count = 2
    while count < 20 and "phone" not in agent._state.known and expect in (Expect.PHONE, Expect.YES_NO):
        state = agent._state
        if state.phone_mode == "confirm" and expect is Expect.YES_NO:
            right = state.heard.e164 == to_e164(caller.digits)
            caller.proposed_again += state.heard.e164 in caller.refused
            if not right:
                caller.refused.add(state.heard.e164)
            text = "כן, נכון" if right else "לא"
        elif expect is Expect.PHONE:
            text = caller.dictate(said, state.heard.digits, expect.value)
        else:
            break  # the agent went on without the number
        count += 1
        said, expect = _answer(agent, CallerTurn(count, text))
    lead = agent.lead()
    return bool(lead.phone_confirmed and lead.phone and national(lead.phone) == caller.digits), count - 2


# --- the table ----------------------------------------------------------------------------------------------------


def hearings(mouth: Mouth, hearing: Hearing, count: int, ways: Sequence[str], seed: int) -> dict[str, Any]:
    """Numbers said in a row, each heard once in every way."""
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, Any]] = {way: {"right": 0, "errors": 0, "by_digit": Counter()} for way in ways}
    digits = 0
    for _ in range(count):
        wanted = number(rng)
        digits += len(wanted)
        cuts = mouth.say([wanted], rng)
        free = [hearing.free(cut) for cut in cuts] if {"exact", "snap"} & set(ways) else []
        for way, row in rows.items():
            match way:
                case "exact":
                    heard = exact(" ".join(free))
                case "snap":
                    heard = phone(" ".join(free)).digits
                case "constrained":
                    heard = phone(" ".join(hearing.constrained(cut) for cut in cuts)).digits
                case _:
                    heard = phone(" ".join(hearing.net(cut) for cut in cuts)).digits
            wrong, by_digit = edits(wanted, heard)
            row["right"] += heard == wanted
            row["errors"] += wrong
            row["by_digit"] += by_digit
    return {
        way: {
            "numbers": count,
            "right": row["right"],
            "digit_errors": round(row["errors"] / digits, 4),
            "by_digit": dict(sorted(row["by_digit"].items())),
        }
        for way, row in rows.items()
    }


def dialogues(
    mouth: Mouth, hear: Callable[[bytes, str], str], agents: ScriptAgents, count: int, seed: int
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    right = by_net = turns = again = 0
    for place in range(count):
        style = ((10,), (3, 3, 4), (3, 2, 2, 2, 1))[place % 3]
        caller = Caller(number(rng), mouth, rng, style, hear)
        good, took = dialogue(agents, caller)
        right += good
        by_net += good and not caller.by_decoder
        turns += took
        again += caller.proposed_again
    return {
        "dialogues": count,
        "right": right,
        "right_by_net_alone": by_net,
        "turns": round(turns / count, 2),
        "refused_read_again": again,
    }


def free_answers(hearing: Hearing) -> dict[str, Any]:
    """What is no number must be heard as before, whatever was asked."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    phones, points = Phones(weights.path("phonikud")), Nakdimon(weights.path("nakdimon"), options)
    same, changed = 0, []
    for voice in ("jm_kumo", HIDDEN_VOICE):
        mouth = Kokoro(weights.path("kokoro"), voice, options)
        for answer in FREE_ANSWERS:
            audio = finish(mouth.render(phones(points.point(answer)), 1.0), 24_000)
            if hearing.net(audio) == hearing.free(audio):
                same += 1
            else:
                changed.append(answer)
    return {"answers": 2 * len(FREE_ANSWERS), "same": same, "changed": changed}


def unseen_voice() -> list[Floats]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    mouth = Kokoro(weights.path("kokoro"), HIDDEN_VOICE, options)
    return [trim(to_float(finish(mouth.render(f"{word}.", 1.15), 24_000))) for word in SPOKEN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("gcompris-voices"))
    parser.add_argument("--numbers", type=int, default=100)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if not (given.folder / "he" / "alphabet" / "U0030.ogg").exists():
        sys.exit(f"{given.folder}: no he/alphabet of GCompris-voices there, so nothing is measured")
    hearing = Hearing()
    agents = ScriptAgents(load_business())
    clips = recorded(given.folder)
    result: dict[str, Any] = {
        "machine": machine("python -m bench.phone_numbers"),
        "seed": SEED,
        "hearings": {},
        "dialogues": {},
    }
    mouths = {name: Mouth(clips, **settings) for name, settings in CONDITIONS.items()}
    mouths["unseen voice"] = Mouth(unseen_voice())
    some = max(8, given.numbers // 4)
    heard, talked = result["hearings"], result["dialogues"]

    def keep() -> None:
        """What is known so far, so that an end before the end loses nothing."""
        result["cpu_s_an_utterance"] = {way: round(float(np.median(took)), 3) for way, took in hearing.cpu.items()}
        given.out.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n")

    for name, mouth in mouths.items():
        count = given.numbers if name == "recorded" else some
        talked[name] = {
            "net": dialogues(mouth, hearing.net, agents, count, SEED + 1),
            "net, no snap": dialogues(mouth, hearing.net_without_snap, agents, count, SEED + 1),
        }
        heard[name] = hearings(mouth, hearing, count, ("net",), SEED)
        keep()
        print(name, json.dumps(talked[name]), json.dumps(heard[name]), flush=True)
    heard["recorded"] |= hearings(mouths["recorded"], hearing, 2 * some, ("exact", "snap"), SEED)
    heard["recorded"] |= hearings(mouths["recorded"], hearing, some, ("constrained",), SEED)
    keep()
    result["free_answers"] = free_answers(hearing)
    keep()
    talked["recorded"]["free"] = dialogues(mouths["recorded"], hearing.free, agents, some, SEED + 1)
    keep()
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
