"""Answers as voice notes: the agent's words, spoken by a voice beside that of the calls, one note at a time.

    note(business, words) -> at hand? -> queue -> Synthesizer -> Ogg Opus -> kept in memory, for whoever sends it

The voice is an engine of its own, so that no caller waits for a note, and a local one gives way to calls. It is loaded
with the first note and released when none was wanted for a while. A note is made from its words again whenever it is
not at hand, as after a restart: sounds are written nowhere.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio
import numpy as np
from anyio import to_thread

from moked import audio, recordings
from moked.answering import Voices
from moked.channels import VoiceNote
from moked.dialog.business import Business
from moked.dialog.texting import aloud
from moked.errors import ModelError, ProviderError
from moked.settings import Settings
from moked.tts import Synthesizer
from moked.tts.local import EspeakVoice

log = logging.getLogger(__name__)

LONGEST_S: Final = 45.0
"""Who asks for a note waits at most so long for it, and then sends the words."""
_IDLE_S: Final = 600.0
_WAITING: Final = 8
_AT_HAND: Final = 64
_POINTS: Final = 64


class Office(Protocol):
    """`practice.Practice`."""

    @property
    def id(self) -> int: ...

    @property
    def business(self) -> Business: ...


@dataclass(slots=True, eq=False)
class _Ask:
    office: Office
    words: str
    gone: bool = False  # whoever asked waits no more
    done: anyio.Event = field(default_factory=anyio.Event)
    note: VoiceNote | None = None


class VoiceReplies:
    """`run` serves while `note` is asked. `voices` makes the voices, each time they are loaded."""

    def __init__(self, settings: Settings, *, voices: Callable[[], Voices] | None = None) -> None:
        self._voices = voices or (lambda: Voices(settings, aside=True))
        self._ask, self._asked = anyio.create_memory_object_stream[_Ask](_WAITING)
        self._at_hand: OrderedDict[tuple[int, str], VoiceNote] = OrderedDict()

    async def note(self, office: Office, text: str) -> VoiceNote | None:
        """`text` of a business, spoken; None where it is to be read, and where there is no voice or no time for it."""
        words = aloud(text)
        if not words:
            return None
        if (found := self._at_hand.get((office.id, words))) is not None:
            self._at_hand.move_to_end((office.id, words))
            return found
        ask = _Ask(office, words)
        try:
            with anyio.move_on_after(LONGEST_S):
                await self._ask.send(ask)
                await ask.done.wait()
        finally:
            ask.gone = True
        return ask.note

    async def run(self) -> None:
        """Until cancelled."""
        with self._ask, self._asked:
            ask: _Ask | None = await self._asked.receive()
            while True:
                try:
                    voices = self._voices()
                    async with voices.running():
                        while ask is not None:
                            await self._serve(voices, ask)
                            ask = None
                            with anyio.move_on_after(_IDLE_S):
                                ask = await self._asked.receive()
                except Exception as error:  # a voice that broke: that answer is read, perhaps the next is heard
                    log.warning("the voice of voice notes ended", extra={"error": type(error).__name__})
                ask = await self._asked.receive()

    async def _serve(self, voices: Voices, ask: _Ask) -> None:
        if ask.gone:
            return
        try:
            voice = await voices.started(ask.office.id, ask.office.business)
            if voice.name != EspeakVoice.name:  # understood with effort by who listens once; words are better
                ask.note = await _made(voice, ask.words)
        except (ModelError, ProviderError) as error:
            log.warning("there is no voice for a voice note", extra={"error": str(error)})
        except Exception as error:  # whatever the encoder does, the words go
            log.warning("a voice note could not be made", extra={"error": type(error).__name__})
        finally:
            if ask.note is not None:
                self._at_hand[ask.office.id, ask.words] = ask.note
                if len(self._at_hand) > _AT_HAND:
                    self._at_hand.popitem(last=False)
            ask.done.set()


async def _made(voice: Synthesizer, words: str) -> VoiceNote | None:
    async with voice.speak(words) as pieces:
        spoken = b"".join([piece async for piece in pieces])
    if not audio.rms(spoken):
        return None
    return VoiceNote(await to_thread.run_sync(recordings.to_ogg_opus, spoken), audio.ms(spoken), shape(spoken))


def shape(mulaw: bytes) -> bytes:
    """How loud it is along the way: 64 numbers, 100 where it is loudest."""
    loud = np.array(
        [np.abs(part).mean() if len(part) else 0.0 for part in np.array_split(audio.to_float(mulaw), _POINTS)]
    )
    return bytes((loud * (100 / max(float(loud.max()), 1e-6))).astype(np.uint8))
