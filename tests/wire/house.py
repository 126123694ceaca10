"""The whole product on real sockets in this process, among emulators: what a test of whole calls stands in.

    async with house(tmp_path) as home:
        placed = await home.place([Say(audio=says("שלום")), HangUp("agent_done")])
        placed.report["turns"], placed.of("turn.partial"), home.llm.requests

Google is emulated for hearing and voice, the carrier's REST interface and the language model where a test asks for
them. Every setting a test does not give is the product's default: the environment of the developer is left out.
"""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import anyio
import httpx2

from emulators.callee import Callee
from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from emulators.llm import LlmEmulator
from emulators.second_leg import Manner, Person
from emulators.twilio_rest import TwilioRest
from moked import parts, roles
from moked.crm.service import Crm
from moked.dialog.business import Business
from moked.roles import House, Role, Watcher
from moked.settings import Settings
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.result import CallResult
from moked.simulate.scenario import Manners, Step
from moked.simulate.twiml import World
from moked.stt import Engine
from moked.stt.google import GoogleSettings, GoogleStreaming
from tests.databases import postgres_schema
from tests.serving import serving

ACCOUNT = "AC" + "1" * 32
TOKEN = "0123456789abcdef0123456789abcdef"
CALLER = "+972502345678"
GREETING = "שלום, מדבר העוזר הקולי."
QUICK = Manners(quiet_ms=250, patience_ms=15_000, linger_ms=100)

PROFILE = f"""
name: "אורן אינסטלציה"
greeting: "{GREETING}"
transfer_number: "03-5550000"
hours: {{sunday: "00:00-24:00", monday: "00:00-24:00", tuesday: "00:00-24:00", wednesday: "00:00-24:00",
  thursday: "00:00-24:00", friday: "00:00-24:00", saturday: "00:00-24:00"}}
"""


@dataclass
class Placed:
    """One simulated call that is over: the caller's side, and the live events with the second they came."""

    result: CallResult
    events: list[tuple[float, str, Mapping[str, Any]]]

    def of(self, event: str) -> list[Mapping[str, Any]]:
        return [data for _, name, data in self.events if name == event]

    def times(self, event: str) -> list[float]:
        return [at for at, name, _ in self.events if name == event]

    @property
    def report(self) -> Mapping[str, Any]:
        assert self.result.report is not None, self.result
        assert self.result.report["ended"], self.result.report
        return self.result.report

    @property
    def turns(self) -> list[Mapping[str, Any]]:
        return list(self.report["turns"])

    @property
    def said(self) -> str:
        """All of the caller's words on record."""
        return " ".join(turn["caller_text"] for turn in self.turns if turn["caller_text"])


@dataclass
class Home:
    """The running product and its emulators. `llm` and `rest` are None where the test did not ask for them."""

    house: House
    speech: GoogleSpeech
    voice: GoogleTts
    llm: LlmEmulator | None
    rest: TwilioRest | None
    calls: dict[str, SimulatedCall] = field(default_factory=dict)
    person: Person | None = None
    callee: Callee | None = None

    @property
    def base_url(self) -> str:
        return self.house.base_url

    @property
    def crm(self) -> Crm:
        return self.house.crm

    def setup(self, **more: Any) -> CallSetup:
        with_carrier = self.rest is not None
        return CallSetup(
            **{
                "base_url": self.base_url,
                "auth_token": self.house.auth_token,
                "account_sid": ACCOUNT if with_carrier else "AC" + "0" * 32,
                "caller": CALLER,
                "manners": QUICK,
                "world": World(recorded_seconds=0),
                "max_s": 40,
                **more,
            }
        )

    def call(self, steps: Sequence[Step], *, client: httpx2.AsyncClient | None = None, **more: Any) -> SimulatedCall:
        """A call the REST emulator knows; `run` it."""
        on_event = more.pop("on_event", None)
        call = SimulatedCall(steps, self.setup(**more), on_event=on_event, client=client)
        self.calls[call.call_sid] = call
        if self.rest is not None:
            self.rest.call_started(call.call_sid)
        return call

    async def place(
        self, steps: Sequence[Step], *, at: Callable[[str, Mapping[str, Any]], None] | None = None, **more: Any
    ) -> Placed:
        """Call, and come back when it is over. `at` is told every live event."""
        events: list[tuple[float, str, Mapping[str, Any]]] = []

        def note(event: str, data: Mapping[str, Any]) -> None:
            events.append((time.monotonic(), event, data))
            if at is not None:
                at(event, data)

        result = await self.call(steps, on_event=note, **more).run()
        return Placed(result, events)

    async def reported(self, call_sid: str, within_s: float = 10) -> Mapping[str, Any]:
        """The final report of a call, straight from the database."""
        with anyio.fail_after(within_s):
            while True:
                report = await anyio.to_thread.run_sync(self.crm.call_report, call_sid)
                if report is not None and report["ended"]:
                    return report
                await anyio.sleep(0.05)


async def together(*started: Callable[[], Awaitable[Placed]]) -> list[Placed]:
    """Side by side; results in order."""
    placed: dict[int, Placed] = {}

    async def one(number: int, start: Callable[[], Awaitable[Placed]]) -> None:
        placed[number] = await start()

    async with anyio.create_task_group() as tasks:
        for number, start in enumerate(started):
            tasks.start_soon(one, number, start)
    return [placed[number] for number in range(len(started))]


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of this kind."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/wire.db"
    else:
        with postgres_schema() as url:
            yield url


@contextmanager
def no_environment() -> Iterator[None]:
    """Without the developer's own settings."""
    names = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in names}
    with mock.patch.dict(os.environ, kept, clear=True):
        yield


def settings(folder: Path, **values: Any) -> Settings:
    """Settings of a test, with a business that says little in its greeting."""
    profile = folder / "business.yaml"
    if not profile.exists():
        profile.write_text(PROFILE, encoding="utf-8")
    with no_environment():
        return Settings(
            _env_file=None,
            **{
                "data_dir": folder / "data",
                "business_profile": profile,
                "tts_rate": 2.0,
                "stt_fallback": "none",
                "tts_fallback": "none",
                "drain_seconds": 0,
                "filler_ms": 0,  # a busy machine would hear them now and then
                "admit_lag_ms": 60_000,  # how busy this machine is decides nothing
                **values,
            },
        )


@asynccontextmanager
async def house(
    folder: Path,
    *,
    speech: GoogleSpeech | None = None,
    voice: GoogleTts | None = None,
    llm: LlmEmulator | None = None,
    rest: bool = False,
    second: GoogleSpeech | None = None,
    person: Manner | None = None,
    work: bool = False,
    **values: Any,
) -> AsyncIterator[Home]:
    """The product with these emulators; `values` are settings. `rest`: with the carrier's REST credentials, `person`:
    and who is rung by it. `work`: what follows calls is done too.

    `second`: what takes over in Whisper's place, and hears as exactly as the first; inside `stand_ins_for_whisper`.
    """
    async with AsyncExitStack() as stack:
        speech = speech or GoogleSpeech(mode="codec")
        voice = voice or GoogleTts(first_byte_ms=20)
        if "speech_emulator_host" not in values:
            values["speech_emulator_host"] = await stack.enter_async_context(speech.running())
        values["texttospeech_emulator_host"] = await stack.enter_async_context(voice.serving())
        if llm is not None:
            values["openai_base_url"] = await stack.enter_async_context(serving(llm.app())) + "/v1"
        calls: dict[str, SimulatedCall] = {}
        carrier = None
        if rest:
            people = await stack.enter_async_context(anyio.create_task_group())
            told: list[Person] = []
            called: list[Callee] = []

            def who(form: Mapping[str, str]) -> Person | Callee:
                return called[0] if "/webhook/outbound?" in form["Url"] else told[0]

            carrier = TwilioRest(
                ACCOUNT,
                TOKEN,
                on_update=lambda sid, form: _tell(calls, sid, form),
                on_create=lambda sid, form: people.start_soon(who(form).rings, sid, form),
            )
            values["twilio_api_base_url"] = await stack.enter_async_context(carrier.running())
            values |= {"twilio_account_sid": ACCOUNT, "twilio_auth_token": TOKEN}
        if second is not None:
            stand_ins[values["speech_emulator_host"]] = await stack.enter_async_context(second.running())
        running = await stack.enter_async_context(serve(settings(folder, **values), work=work))
        home = Home(running, speech, voice, llm, carrier, calls)
        if carrier is not None:
            home.person = Person(
                person or Manner.NO_ANSWER,
                home.setup(),
                joined=lambda room: calls[room.removeprefix("moked-")].connected(),
                left=lambda room: calls[room.removeprefix("moked-")].conference_over(),
            )
            told.append(home.person)

            def begun(call: SimulatedCall) -> None:
                calls[call.call_sid] = call
                carrier.call_started(call.call_sid)

            home.callee = Callee(home.setup(), begun=begun)
            called.append(home.callee)
        yield home


def _tell(calls: Mapping[str, SimulatedCall], sid: str, form: Mapping[str, str]) -> None:
    if sid in calls:
        calls[sid].rest_update(form)


class StandIn(GoogleStreaming):
    """Another Google in the place of Whisper, so that not a word may differ."""

    name = "whisper-stand-in"


stand_ins: dict[str, str] = {}
"""The second emulator's address by the first one's."""


@contextmanager
def stand_ins_for_whisper() -> Iterator[None]:
    """While entered, a `house` with a `second` emulator hears by it when the first one fails."""

    def hearing(chosen: Settings, business: Business) -> tuple[list[Engine], parts.Choice]:
        engines, choice = usual(chosen, business)
        target = stand_ins.pop(chosen.speech_emulator_host, None)
        return [*engines, *([StandIn(GoogleSettings(emulator_host=target))] if target else [])], choice

    usual = parts.hearing
    with mock.patch.object(parts, "hearing", hearing):
        yield


@asynccontextmanager
async def serve(chosen: Settings, role: Role = Role.ALL, *, work: bool = False) -> AsyncIterator[House]:
    """`moked serve` in this task's loop, on a free port; drained on exit. `work`: what follows calls, too."""
    stop, up = anyio.Event(), anyio.Event()
    found: list[House] = []

    def listening(one: House) -> None:
        found.append(one)
        up.set()

    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            watcher = Watcher(listening=listening)
            await roles.serve(chosen, role, "127.0.0.1", 0, watcher=watcher, stop=stop, work=work)

        tasks.start_soon(run)
        await up.wait()
        try:
            yield found[0]
        finally:
            stop.set()
