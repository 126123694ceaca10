"""Google Speech-to-Text as two engines, on API v1 or v2: streaming, and whole utterances that our VAD cuts.

Both find out at the start, with 200 ms of silence, which model Google takes for the language; `survey` asks that of
every candidate, for `moked doctor`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from typing import Final as Const

import anyio

from moked.audio import silence
from moked.errors import ProviderError
from moked.stt import Stream
from moked.stt import google_rules as rules
from moked.stt.google_messages import Ended, GoogleSettings, Wish
from moked.stt.google_stream import GoogleStream
from moked.stt.google_wire import GoogleStats, Wire
from moked.stt.utterance import Transcription, UtteranceStream

__all__ = ["GoogleSettings", "GoogleStats", "GoogleStreaming", "GoogleUtterances", "Survey", "survey"]

_PROBE_AUDIO: Const = silence(200)
_ASK_S: Const = 6.0  # one model


class _Google:
    """What both engines are. `ladder`: the other's, where both run, so that what one found out the other knows."""

    name = ""

    def __init__(self, settings: GoogleSettings, *, ladder: rules.ModelLadder | None = None) -> None:
        self._wire = Wire(self.name, settings, ladder)
        # v2's models differ in whether they take hints; v1's do not
        self._probe_hints = ("שלום",) if settings.api == "v2" else ()

    @property
    def ladder(self) -> rules.ModelLadder:
        return self._wire.ladder

    @property
    def stats(self) -> GoogleStats:
        return self._wire.stats

    @property
    def model(self) -> str:
        """The model that is used now; empty means Google's own choice."""
        return self._wire.ladder.current

    def running(self) -> AbstractAsyncContextManager[None]:
        return self._wire.probed(self._probe)

    async def ask_each_model(self) -> list[rules.ModelAnswer]:
        """What Google says to each candidate, one after another. Raises `ProviderError` when it says nothing of them:
        not there, or the key is refused. Connected for as long as this takes; not beside `running`."""
        async with self._wire.connected():
            return [await self._ask_model(model) for model in self._wire.ladder.rungs]

    async def _ask_model(self, model: str) -> rules.ModelAnswer:
        wish = Wish(model, self._probe_hints)
        while True:
            status, text = "DEADLINE_EXCEEDED", f"no answer within {_ASK_S:g} s"
            with anyio.move_on_after(_ASK_S):
                status, text = await self._ask(wish)
            features = rules.refused_features(status, text)
            if features <= wish.without:
                break
            wish = replace(wish, without=wish.without | features)
        if status == "OK":
            return rules.ModelAnswer(model, True, without=wish.without)
        if not rules.is_about_the_model(status, text):
            raise self._wire.error(status, text)
        return rules.ModelAnswer(model, False, text, wish.without)

    async def _probe(self) -> None:
        raise NotImplementedError

    async def _ask(self, wish: Wish) -> tuple[str, str]:
        """Ask for one recognition of silence: gRPC's status name and text."""
        raise NotImplementedError


class GoogleStreaming(_Google):
    """Engine "google": one StreamingRecognize a stream. At most 5 minutes each: whoever feeds it opens the next."""

    name = "google"
    whole_utterances = False

    @property
    def batch_ms(self) -> int:
        """Less than this is not worth a wake-up: it would only wait to be sent."""
        return self._wire.settings.batch_ms

    @asynccontextmanager
    async def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AsyncIterator[Stream]:
        stream = GoogleStream(self._wire, origin_ms, hints)
        await stream.open()
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.run, name="google-stt")
            try:
                yield stream
            except Exception as problem:  # passed on outside the group, which would wrap it
                failure = problem
            finally:
                stream.close()
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _probe(self) -> None:
        async with self.stream(origin_ms=0, hints=self._probe_hints) as stream:
            await stream.write(_PROBE_AUDIO)
            await stream.finish()
            async for _ in stream:
                pass

    async def _ask(self, wish: Wish) -> tuple[str, str]:
        status, text = await self._ask_with(wish, _PROBE_AUDIO)
        if rules.is_unexplained(status, text):  # the refusal met our audio, and its reason was lost
            status, text = await self._ask_with(wish, b"")
        return status, text

    async def _ask_with(self, wish: Wish, audio: bytes) -> tuple[str, str]:
        dialect, call = self._wire.dialect, self._wire.call()
        try:
            with suppress(Ended):  # the reader knows why
                await call.write(dialect.first(wish))
                if audio:
                    await call.write(dialect.audio(audio))
                await call.half_close()
            while await call.read() is not None:
                pass
        except Ended as end:
            return end.status, end.text
        finally:
            call.cancel()
        return "OK", ""


class GoogleUtterances(_Google):
    """Engine "google-batch": one Recognize for each utterance that our VAD cuts."""

    name = "google-batch"
    whole_utterances = True

    @asynccontextmanager
    async def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AsyncIterator[Stream]:
        self._wire.stats.streams += 1
        await self._wire.reach()

        async def transcribe(audio: bytes) -> Transcription:
            return await self._recognize(audio, hints)

        async with UtteranceStream(transcribe, engine=self.name, origin_ms=origin_ms) as stream:
            yield stream

    async def _probe(self) -> None:
        await self._recognize(_PROBE_AUDIO, self._probe_hints)

    async def _ask(self, wish: Wish) -> tuple[str, str]:
        try:
            await self._wire.whole(wish, _PROBE_AUDIO)
        except Ended as end:
            return end.status, end.text
        return "OK", ""

    async def _recognize(self, audio: bytes, hints: Sequence[str]) -> Transcription:
        """One request; again on the next model where this one is refused, and once more where Google was not there."""
        again = True
        wish = self._wire.wish(hints)
        while True:
            try:
                answer = await self._wire.whole(wish, audio)
            except Ended as end:
                following = self._wire.next_wish(wish, end.status, end.text)
                if following is not None:
                    wish = following
                elif end.status == "UNAVAILABLE" and again:
                    again = False
                else:
                    raise self._wire.error(end.status, end.text) from None
            else:
                self._wire.served(wish.model)
                self._wire.stats.billed_ms += self._wire.dialect.billed_ms(answer)
                return self._transcription(answer.results)

    def _transcription(self, results: Sequence[Any]) -> Transcription:
        best = [result.alternatives[0] for result in results if result.alternatives]
        text = rules.joined(part.transcript for part in best)
        if not self._wire.punctuation(final=True):
            text = rules.plain(text)
        sure = [part.confidence for part in best if part.confidence > 0]
        shape = rules.SHAPES[self._wire.settings.api]
        words = tuple(word for part in best for word in rules.words_of(part, 0, shape))
        return Transcription(text, sum(sure) / len(sure) if sure else None, words)


@dataclass(frozen=True, slots=True)
class Survey:
    """What Google's recognition says to these settings. `elsewhere`: locations of v2 where a model was taken, with
    that model, asked only where none was in the configured location."""

    api: rules.Api
    location: str
    answers: Sequence[rules.ModelAnswer]
    elsewhere: Sequence[tuple[str, str]] = ()


async def survey(settings: GoogleSettings, *, streaming: bool = True) -> Survey:
    """Ask each candidate model. Raises `ProviderError` and, for the credentials, `SettingsError`."""
    engine = GoogleStreaming if streaming else GoogleUtterances
    answers = await engine(settings).ask_each_model()
    elsewhere: list[tuple[str, str]] = []
    if settings.api == "v2" and not any(answer.accepted for answer in answers):
        for location in rules.LOCATIONS:
            if location != settings.location:
                with suppress(ProviderError):  # a location may be closed to the project
                    there = await engine(replace(settings, location=location)).ask_each_model()
                    elsewhere += [(location, answer.model) for answer in there if answer.accepted][:1]
    return Survey(settings.api, settings.location, answers, elsewhere)
