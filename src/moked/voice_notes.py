"""Voice notes written down: an Ogg/Opus file through the same ears as recordings, one at a time.

The engine is loaded with the first note, not before: many who are written to never get one.
"""

import logging
import tempfile
from pathlib import Path
from typing import Final

import anyio

from moked import transcribe, weights
from moked.errors import Failure, ModelError, ProviderError, RecordingError
from moked.media.vad import SileroVad
from moked.settings import Settings

log = logging.getLogger(__name__)

_LONGEST_S: Final = 120.0  # of our time, for one note
_OPTIONS: Final = transcribe.Options(mix=True)


class VoiceNotes:
    """`run` serves while `hear` is asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ask, self._asked = anyio.create_memory_object_stream[tuple[bytes, anyio.Event, list[str | Exception]]](8)

    async def hear(self, sound: bytes) -> str | None:
        """Its words; None where there is no time for it now. Raises `ProviderError`."""
        done, answer = anyio.Event(), list[str | Exception]()
        with anyio.move_on_after(_LONGEST_S):
            await self._ask.send((sound, done, answer))
            await done.wait()
        if answer and isinstance(answer[0], Exception):
            raise answer[0]
        return str(answer[0]) if answer else None

    async def run(self) -> None:
        """Until cancelled."""
        with self._ask, self._asked:
            asked = await self._asked.receive()
            while True:
                try:
                    who = transcribe.listener(self._settings, "", _OPTIONS)
                    vad = SileroVad(weights.path("silero-vad", root=self._settings.models_root))
                    async with who.running():
                        while True:
                            await _serve(asked, who, vad)
                            asked = await self._asked.receive()
                except (ModelError, ProviderError) as error:  # no engine: that note is not heard, perhaps the next
                    _, done, answer = asked
                    answer.append(ProviderError("voice_notes", Failure.UNAVAILABLE, str(error)))
                    done.set()
                    asked = await self._asked.receive()


async def _serve(
    asked: tuple[bytes, anyio.Event, list[str | Exception]], who: transcribe.Listener, vad: SileroVad
) -> None:
    sound, done, answer = asked
    try:
        with tempfile.TemporaryDirectory(
            prefix="moked-note-"
        ) as folder:  # PyAV reads files; only ours may read this one
            path = Path(folder) / "note.ogg"
            await anyio.to_thread.run_sync(path.write_bytes, sound)
            found = await transcribe.transcribe(path, who, vad, _OPTIONS, transcribe.View())
        answer.append(" ".join(segment.text.strip() for segment in found.segments))
    except RecordingError as error:
        answer.append(ProviderError("voice_notes", Failure.PROTOCOL, type(error).__name__))
    except ProviderError as error:
        answer.append(error)
    except Exception as error:  # whatever a stranger's file does to a decoder, the next one is heard
        log.exception("a voice note could not be read")
        answer.append(ProviderError("voice_notes", Failure.PROTOCOL, type(error).__name__))
    finally:
        done.set()
