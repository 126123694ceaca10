"""Voices that need no key: Kokoro (Nakdimon, phonikud, Kokoro-82M) and, where its weights are missing, espeak-ng.

Both render in one child process shared by all calls (`tts.kokoro_child`), one clause at a time, in order: about one
CPU-second a second of speech for Kokoro, so what is said often should be rendered once (`tts.cache`). Nothing here
loads a model; the child does.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from moked.childproc import Child
from moked.errors import Failure, Overloaded, ProviderError
from moked.tts import Progress
from moked.tts.hebrew import prepare

_CHILD = "moked.tts.kokoro_child"
_VERSION = 1  # of the recipe: part of the cache key, raised when the sound changes
CALLS_NICE = 5
_WAIT_S = 60.0  # for the queue and the rendering of one text


class _ChildVoice:
    """A voice that `kokoro_child` makes. `rate` 1.0 is the voice's own pace. `max_pending` texts may wait for the
    child; one more fails with `QUOTA`.
    """

    name: str

    def __init__(
        self, config: dict[str, object], key: str, *, rate: float, gender: str, max_pending: int, nice: int
    ) -> None:
        self._child = Child(_CHILD, config, name=self.name, max_pending=max_pending, nice=nice)
        self._rate = rate
        self._gender = gender
        self.key = f"{self.name}/{key}/{rate}/{_VERSION}"

    def cached(self, text: str) -> bytes | None:
        return None

    def speak(self, text: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return _speak(self._child, self.name, prepare(text, gender=self._gender), self._rate)

    async def prepare(self, texts: Sequence[str], progress: Progress | None = None) -> None:
        """Nothing to do: an engine keeps no audio. Wrap it in `tts.cache.CachedSynthesizer`."""

    def running(self) -> AbstractAsyncContextManager[None]:
        return self._child.running()


class LocalVoice(_ChildVoice):
    """Hebrew by Kokoro-82M. `nakdimon` is the .onnx file, `kokoro` the folder of its files.

    `phonikud` is its package's folder; None: among the embedded models, beside the other two.
    """

    name = "kokoro"

    def __init__(
        self,
        nakdimon: Path,
        kokoro: Path,
        *,
        phonikud: Path | None = None,
        voice: str = "jm_kumo",
        rate: float = 1.0,
        gender: str = "m",
        threads: int = 1,
        max_pending: int = 16,
        nice: int = CALLS_NICE,
    ) -> None:
        config: dict[str, object] = {
            "nakdimon": str(nakdimon),
            "phonikud": str(phonikud or _beside(nakdimon)),
            "kokoro": str(kokoro),
            "voice": voice,
            "threads": threads,
        }
        super().__init__(config, voice, rate=rate, gender=gender, max_pending=max_pending, nice=nice)


class EspeakVoice(_ChildVoice):
    """Hebrew by espeak-ng, the last resort: intelligible with effort. `program` is the installed binary.

    With `nakdimon` it is given sounds rather than letters, which is far better than what it makes of Hebrew spelling.
    """

    name = "espeak"

    def __init__(
        self,
        program: str,
        *,
        nakdimon: Path | None = None,
        rate: float = 1.0,
        gender: str = "m",
        max_pending: int = 16,
    ) -> None:
        config: dict[str, object] = {
            "nakdimon": str(nakdimon or ""),
            "phonikud": str(_beside(nakdimon)) if nakdimon else "",
            "kokoro": "",
            "espeak": program,
        }
        key = "ipa" if nakdimon else "he"
        super().__init__(config, key, rate=rate, gender=gender, max_pending=max_pending, nice=0)


def _beside(nakdimon: Path) -> Path:
    """The rules of phonikud lie where all the embedded models do."""
    return nakdimon.parent.parent / "phonikud"


@asynccontextmanager
async def _speak(child: Child, name: str, text: str, rate: float) -> AsyncIterator[AsyncIterator[bytes]]:
    if not any(character.isalpha() for character in text):
        yield _audio(None)
        return
    try:
        async with child.ask({"text": text, "speed": rate}, timeout=_WAIT_S) as answers:
            yield _audio(answers)
    except Overloaded as error:
        raise ProviderError(name, Failure.QUOTA, str(error)) from error


async def _audio(answers: AsyncIterator[dict[str, bytes]] | None) -> AsyncIterator[bytes]:
    if answers is not None:
        async for answer in answers:
            yield answer["audio"]
