"""A rehearsal from the command line: lines of text or recordings become a scenario, which is then called in real time.

The caller speaks with the local voice, rendered beforehand and kept, so that the call itself costs the machine nothing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import httpx2

from moked import parts
from moked.errors import SettingsError
from moked.recordings import load
from moked.settings import Settings, ensure_local_secret
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup, new_client
from moked.simulate.echo import EchoPath
from moked.simulate.events import OnEvent
from moked.simulate.result import CallResult
from moked.simulate.scenario import CutIn, Dtmf, Manners, Say, Step, render
from moked.simulate.twiml import World
from moked.tts.cache import CachedSynthesizer

DEMO = (
    "שלום, אני מחפש מישהו שיתקן לי את הדוד",
    "קוראים לי אבי",
    "כן",
    "היום בערב אם אפשר",
    "כן, זה נכון",
)
"""Answers the packaged script in order: need, name, the number called from, when to call back, the summary.

The embedded Whisper is small and the caller's voice synthetic; these are sentences it hears right.
"""


async def steps(
    settings: Settings, lines: Sequence[str], cut_in: str, keys: str, voice: str, progress: Callable[[int, int], None]
) -> tuple[Step, ...]:
    """The scenario with all its audio. A line that names a file is a recording."""
    plan: list[Step] = []
    for line in lines or DEMO:
        path = Path(line)
        is_file = len(line) < 255 and path.is_file()
        if not is_file and path.suffix.lower() in (".wav", ".ogg", ".mp3", ".flac", ".m4a"):
            raise SettingsError(f"there is no recording {line!r}")
        plan.append(Say(text=path.name, audio=load(path)) if is_file else Say(line))
    if cut_in:
        plan.append(CutIn(cut_in))
    if keys:
        plan.append(Dtmf(keys))
    texts = [step.text for step in plan if isinstance(step, Say | CutIn) and not step.audio]
    if not texts:
        return tuple(plan)
    inner = parts.local_voice(settings, voice=voice, gender="m")
    caller = CachedSynthesizer(inner, settings.data_dir / "voice", key=inner.key)
    if all(caller.cached(text) for text in texts):  # said before: no need to load the voice
        return render(plan, lambda text: caller.cached(text) or b"")
    async with caller.running():
        await caller.prepare(texts, progress)
        return render(plan, lambda text: caller.cached(text) or b"")


SPEAKERPHONE = EchoPath(db=-20.0, ms=300)


def setup(
    settings: Settings, *, url: str, caller: str, called: str, max_s: float, echo: bool = False, keys: str = ""
) -> CallSetup:
    """Where to call, with the account's own token: the server checks our signatures like Twilio's."""
    token = settings.twilio_auth_token
    secret = token.get_secret_value() if token is not None else ensure_local_secret(settings.data_dir)
    base = url.rstrip("/") or settings.public_base_url or f"http://127.0.0.1:{settings.port}"
    return CallSetup(
        base_url=base,
        public_base_url=settings.public_base_url or base,
        auth_token=secret,
        account_sid=settings.twilio_account_sid or "AC" + "0" * 32,
        caller=caller,
        called=called,
        max_s=max_s,
        manners=Manners(echo=SPEAKERPHONE if echo else None),
        world=World(digits=keys),
    )


async def wait_ready(where: CallSetup, progress: Callable[[int, int, str], None], *, patience_s: float = 600) -> None:
    """Wait while the server prepares itself. Raises `SettingsError` when nobody answers at that address."""
    deadline = anyio.current_time() + patience_s
    async with new_client(where.base_url) as http:
        while anyio.current_time() < deadline:
            try:
                answer = await http.get(f"{where.base_url}/readyz")
            except httpx2.TransportError as error:
                raise SettingsError(f"nobody answers at {where.base_url}: start `moked up`, or set --url") from error
            missing = answer.json().get("waiting_for", {}) if answer.status_code == 503 else {}
            if "voice" not in missing:
                return
            done, _, rest = missing["voice"].partition(" of ")
            progress(int(done), int(rest.split()[0]), "the server prepares its voice; --now does not wait")
            await anyio.sleep(1)


async def place(plan: Sequence[Step], where: CallSetup, on_event: OnEvent) -> CallResult:
    """Place the call and act it out."""
    return await SimulatedCall(plan, where, on_event=on_event).run()
