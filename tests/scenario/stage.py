"""A call as a script: what the caller does, what the agent does, in order, on virtual time.

    async with Scene({"מתי": "מחר בבוקר או ביום חמישי."}) as call:
        await call.greets()
        await call.says("מתי")
        await call.coughs(over=800)
        await call.resumes()
        await call.hangs_up()

The session, its cores and the journal are real. Time is the call's own: a caller who does something `over` does it that
many ms into the agent's reply, otherwise when the agent has been silent for half a second. The agent's voice is
numbered samples, so that what the carrier played can be compared with what was to be said, to the sample.
"""

import itertools
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import anyio

from moked.dialog import Ask, Expect, Say
from moked.media.ear import Ear, level_db
from moked.media.session import Phrases
from moked.media.speech import SpeechEnded, SpeechPaused, SpeechStarted
from moked.media.twilio import Dtmf
from moked.simulate.wire import PlayBuffer
from moked.stt import Final, Interim
from tests.media.test_session import MS_A_LETTER, Call

FILLERS = ("רק רגע, אני בודק.", "שנייה אחת.")
LONG_FILLERS = ("עוד רגע ואני איתכם.",)
PHRASES = Phrases("סליחה, אפשר לחזור?", "סליחה, יש לי תקלה.", "סליחה, הזמן נגמר.", "נשארה דקה.", FILLERS, LONG_FILLERS)
FIXED = {*PHRASES}


def numbered(ms, start=0):
    return bytes((start + n) % 251 for n in range(ms * 8))


class Voice:
    """60 ms a letter, in pieces; 'אילם' has no sound, 'שבור' fails, 'איטי' takes three seconds."""

    name = "numbered"

    def __init__(self):
        self.spoken = []

    def cached(self, text):
        return numbered(len(text) * MS_A_LETTER) if text.strip() in FIXED else None

    @asynccontextmanager
    async def speak(self, text):
        from moked.errors import Failure, ProviderError

        self.spoken.append(text)

        async def chunks():
            await anyio.sleep(3.0 if "איטי" in text else 0.1)
            if "שבור" in text or "אילם" in text:
                kind = Failure.PROTOCOL if "אילם" in text else Failure.UNAVAILABLE
                raise ProviderError("numbered", kind, "no voice")
            for at in range(0, len(text) * MS_A_LETTER, 300):
                yield numbered(min(300, len(text) * MS_A_LETTER - at), at * 8)

        async with aclosing(chunks()) as stream:
            yield stream


def reply(answer):
    """What a table says: text, a pause in s, an error, or a tuple of them; a question mark asks."""
    items = answer if isinstance(answer, tuple) else (answer,)
    done = tuple(Say(item) if isinstance(item, str) else item for item in items)
    text = "".join(item for item in items if isinstance(item, str))
    return done if not text or any(isinstance(item, Ask) for item in done) else (*done, Ask(Expect.OPEN))


class Scene(Call):
    """`answers`: what the agent says to which words. `**policy`: of `TurnPolicy`."""

    def __init__(self, answers=None, *, marks=True, **policy):
        super().__init__({key: reply(answer) for key, answer in (answers or {}).items()}, **policy)
        self.voice = Voice()
        self.phrases = PHRASES
        self.played = PlayBuffer()
        self.marks = marks
        self.stuck = None  # an event to wait for in `send`
        self._stack = AsyncExitStack()

    async def __aenter__(self):
        await self._stack.enter_async_context(self.on())
        return self

    async def __aexit__(self, *failure):
        return await self._stack.__aexit__(*failure)

    async def send(self, message):
        if self.stuck is not None:
            await self.stuck.wait()
            raise anyio.BrokenResourceError
        kind, value = message
        if kind == "media":
            self.played.play(value, self.now)
        elif kind == "clear":
            self.played.clear(self.now)
        if kind == "mark" and not self.marks:
            return
        await super().send(message)

    # --- the caller

    async def _moment(self, over):
        """`over` ms into the agent's reply, or when it has been silent for half a second."""
        if over is not None:
            while not self.speaking:
                await anyio.sleep(0.01)
            await anyio.sleep(over / 1000)
            return
        while self.speaking or self.now < self.plays_until + 500:
            await anyio.sleep(0.01)

    @property
    def speaking(self):
        return self.plays_until > self.now

    async def says(self, text, *, over=None, ms=None, heard=True, final_ms=300):
        """Speech of a natural length, with an interim every 200 ms. `heard=False`: the recogniser gets nothing."""
        await self._moment(over)
        start, end = self.now, self.now + (ms or 350 * len(text.split()))
        self.tasks.start_soon(self._vad, start, end)
        words = text.split()
        each = (end - start) / len(words)
        for at in range(start + 400, end, 200):
            await self.until(at)
            count = int((at - 150 - start) / each)
            if count and heard:
                self.recognizer.sink(Interim(" ".join(words[:count]), start, int(start + count * each), 0.9, "google"))
        if heard:
            await self.until(end + 100)
            self.recognizer.sink(Interim(text, start, end, 0.9, "google"))
            await self.until(end + final_ms)
            self.recognizer.sink(Final(text, start, end, 0.9, "google"))
        await self.until(end + 200)

    async def _vad(self, start, end):
        await self.until(start + 70)
        self.ear.on_speech(SpeechStarted(start))
        await self.until(end + 80)
        self.ear.on_speech(SpeechPaused(end))
        await self.until(end + 170)
        self.ear.on_speech(SpeechEnded(end))

    async def coughs(self, ms=180, *, over=800):
        await self._moment(over)
        await self._vad(self.now, self.now + ms)

    async def presses(self, keys, *, over=None):
        await self._moment(over)
        for key in keys:
            self.session.handle(Dtmf(key))
            await anyio.sleep(0.2)

    async def is_silent(self, ms):
        await anyio.sleep(ms / 1000)

    async def hangs_up(self, over=None):
        await self._moment(over)
        await super().hangs_up(self.now)
        await anyio.sleep(3)

    # --- the agent

    async def greets(self):
        await self.answers("שלום, במה אפשר לעזור?")

    async def answers(self, text, within=20_000):
        """The next reply reads so, and is heard to its end."""
        with anyio.fail_after(within / 1000):
            while not any(turn.heard == text and not turn.cut for turn in self.store.turns.values()):
                await anyio.sleep(0.02)
        turn = next(turn for turn in reversed(self.store.turns.values()) if turn.heard == text)
        assert turn.said == text
        return turn

    async def is_cut(self, within=1500):
        """Silent on the spot; what was heard is on record, and no more."""
        with anyio.fail_after(within / 1000):
            while not any(turn.cut for turn in self.store.turns.values()):
                await anyio.sleep(0.01)
        turn = next(turn for turn in reversed(self.store.turns.values()) if turn.cut)
        assert turn.said.startswith(turn.heard)
        assert len(turn.heard) < len(turn.said)
        assert self.clears
        return turn

    async def resumes(self, *, numbered=True):
        """The reply is heard to its end, and no sample of it is lost or said twice."""
        while self.speaking or self.session._turns.replying:
            await anyio.sleep(0.02)
        turn = list(self.store.turns.values())[-1]
        assert not turn.cut
        assert turn.heard == turn.said
        if numbered:
            self.whole(turn)
        return turn

    def whole(self, turn):
        """The samples of this reply came once each, in order, give or take what the clock cannot know."""
        start = turn.waterfall.sent_ms
        line = b"".join(part.audio for part in self.played.heard(self.now) if part.start_ms >= start - 5)
        jumps = [(n, (b - a) % 251) for n, (a, b) in enumerate(itertools.pairwise(line)) if (b - a) % 251 != 1]
        new_clauses = sum(b == 0 for n, b in enumerate(line[1:]) if (b - line[n]) % 251 != 1)
        assert len(jumps) == new_clauses, f"{len(jumps)} jumps, {new_clauses} clauses"

    def gaps(self, since=0):
        """Silences within what was played, in ms."""
        parts = [part for part in self.played.heard(self.now) if part.start_ms >= since]
        return [after.start_ms - before.end_ms for before, after in itertools.pairwise(parts)]


class LoudSlot:
    """A detector that takes what is loud for speech."""

    def __init__(self, on_result):
        self.on_result = on_result

    def submit(self, window):
        self.on_result(0.9 if level_db(window) > -50 else 0.01)

    def close(self):
        pass


def real_ear(on_speech):
    return Ear(LoudSlot, on_speech)
