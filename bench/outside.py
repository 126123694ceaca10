"""The world outside, for the benches: Google Speech, Google Text-to-Speech and a language model in one process.

One process and one loop, so that they cost the load's core as little as possible. Prints its ports as one line of JSON
and serves until its standard input closes, so that it never outlives whoever started it.

The model's answers are never twice the same, or the voice's cache would answer instead of the voice.
"""

import argparse
import asyncio
import itertools
import json
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from emulators import google_speech
from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from emulators.listener import Energy, Heard, Listener, TimedWord
from emulators.llm import Answer, LlmEmulator

THINGS = (
    "הברז המזגן הדוד התנור המקרר הצינור השקע המנעול החלון התריס הכיור המסנן "
    "הארון המדף הווילון השער הגדר המשאבה המפוח הנורה הפעמון המדיח המייבש הכבל"
)
STATES = (
    "הדולף הישן החדש השבור הרועש החם הקר הסתום העקום הרטוב הפתוח הכבד "
    "הקטן הגדול האדום הלבן השחור הירוק הכחול הצהוב הסדוק החלוד הרופף התקוע"
)
PLACES = (
    "במטבח בסלון במקלחת במרפסת במחסן בחצר במשרד בחדר במרתף בגינה בחנות באולם "
    "במעלית בלובי במסדרון בגג בחניה במקלט בכניסה במועדון בקומה במפעל בסדנה בכיתה"
)
WHEN = ("מחר", "היום", "השבוע", "בבוקר", "בערב", "בצהריים", "ביום ראשון", "ביום שני", "ביום שלישי", "ביום רביעי")


READING = json.dumps(
    {
        "summary": "הפונה מבקשת עזרה עם מזגן בסלון שלא מקרר כבר יומיים ועושה רעש. סוכם שנחזור אליה מחר בבוקר.",
        "next_step": "לחזור אל הפונה מחר בבוקר ולתאם ביקור של טכנאי",
        "name": None,
        "need": {"value": "מזגן שלא מקרר", "turn": 1, "quote": "המזגן", "confidence": 0.9},
        "best_time": None,
    },
    ensure_ascii=False,
)
"""What a model makes of any call afterwards, in some fifty tokens; the quote may be in none of its turns."""


def answers() -> Any:
    """A brain: two sentences of about 60 letters together; 13,824 first sentences before one comes again."""
    things, states, places = THINGS.split(), STATES.split(), PLACES.split()
    turn = itertools.count(1)

    def brain(body: dict[str, Any]) -> Answer:
        if "response_format" in body:
            return Answer(READING)
        number = next(turn) * 7919  # a prime, so that it goes through all of them and neighbours differ
        number, thing = divmod(number, len(things))
        number, state = divmod(number, len(states))
        number, place = divmod(number, len(places))
        what = f"{things[thing]} {states[state]} {places[place]}"
        return Answer(f"רשמתי את {what}. מה עוד חשוב לדעת על {things[thing]} {WHEN[number % len(WHEN)]}?")

    return brain


class _StampingListener(Listener):
    """Every interim ends in a word that says when it left: the clock is the machine's, so others can read it."""

    def hear(self, audio: bytes) -> list[Heard]:
        return [self._stamped(item) if item.kind == "interim" else item for item in super().hear(audio)]

    @staticmethod
    def _stamped(item: Heard) -> Heard:
        stamp = TimedWord(f"at{time.monotonic_ns() // 1000}us", item.words[-1].end_ms, item.words[-1].end_ms)
        return replace(item, words=(*item.words, stamp))


class Stamping(GoogleSpeech):
    def _listener(self) -> Listener:
        source = Energy(self.sentences, whole=self.whole_sentences)
        return _StampingListener(source, final_ms=self.final_ms, min_voiced_frames=3)


async def serve(options: argparse.Namespace) -> None:
    setattr(Energy, "WORD_MS", options.word_ms)  # noqa: B010  (a constant elsewhere)
    recordings = google_speech.read_recordings(options.recordings) if options.recordings else ()
    google = Stamping if options.stamps else GoogleSpeech
    speech = google(
        mode="script" if recordings else "energy",
        final_ms=options.final_ms,
        sentences=options.sentence or ("שלום",),
        whole_sentences=True,
        recordings=recordings,
    )
    tts = GoogleTts(first_byte_ms=options.first_byte_ms)
    llm = LlmEmulator(brain=answers(), first_token_ms=options.first_token_ms, tokens_per_s=options.tokens_per_s)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(llm.app(), log_level="warning", lifespan="off", access_log=False)
        server = uvicorn.Server(config)
        async with speech.running() as speech_at, tts.serving() as tts_at:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            ports = {"speech": speech_at, "tts": tts_at, "llm": f"http://127.0.0.1:{listener.getsockname()[1]}/v1"}
            print(json.dumps(ports), flush=True)
            await asyncio.to_thread(sys.stdin.read)
            server.should_exit = True
            await serving


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--final-ms", type=int, default=300)
    parser.add_argument("--first-token-ms", type=int, default=250)
    parser.add_argument("--tokens-per-s", type=float, default=50)
    parser.add_argument("--first-byte-ms", type=int, default=120)
    parser.add_argument("--word-ms", type=int, default=400, help="how fast the recognizer hears words")
    parser.add_argument("--recordings", type=Path, help="what the callers' own recordings say, and when: JSON")
    parser.add_argument(
        "--stamps", action="store_true", help="interims say when they were sent, in a word of their own"
    )
    parser.add_argument("--sentence", action="append", help="what a voice says, in turn; may be repeated")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
