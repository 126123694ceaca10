"""The stage both benches play on: the real server as a process on one core, the world outside it and the callers on
another.

    core A: `moked serve --role all`, its threads too         core B: bench.outside (emulators) and the callers (we)
    with one of `processes`: an office and a media process, both on core A
    with several: a media process and a core each, and the office on any of them

Everything listens on ephemeral loopback ports, and everything started is ended, also when the bench fails. On a
machine with one core all share it and the results say so.
"""

import asyncio
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np
import psutil

from emulators.listener import VOICED_RMS
from moked import rehearsal
from moked.audio import FRAME_BYTES, FRAME_MS, SAMPLE_RATE, from_float, to_float
from moked.errors import MokedError
from moked.settings import Settings
from moked.simulate.carrier import CallSetup
from moked.simulate.scenario import Manners, Say

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / "bench" / "results"
TOKEN: Final = "bench-" + "0" * 26
READY_S: Final = 60.0
REST_S: Final = 120.0
RESTING: Final = 0.08  # cores

LINES: Final = (
    "שלום אני צריכה עזרה עם המזגן",
    "המזגן בסלון לא מקרר כבר יומיים",
    "קוראים לי דנה לוי מרמת גן",
    "מחר בבוקר מתאים לי מאוד",
)
"""What the caller says, in turn."""

HEARD: Final = (
    "שלום אני צריכה בבקשה עזרה עם המזגן בסלון שלא מקרר כבר יומיים ועושה רעש",
    "המזגן בסלון מטפטף על הרצפה מאז אתמול בערב ואנחנו צריכים טכנאי כמה שיותר מהר",
    "קוראים לי דנה לוי מרמת גן ואני גרה ברחוב ביאליק בקומה השנייה ליד הדואר",
    "מחר בבוקר מתאים לי מאוד וגם מחר אחר הצהריים בסדר ואפשר להתקשר אליי היום",
)
"""What the emulated recognizer makes of it: a word each `word_ms`, so that every interim is new, and more words than
fit, so that the final always brings some. That is the hard case: what was begun on the interim is begun again."""


BUSINESS: Final = """
name: מוקד המדידות
greeting: "שלום, מדבר העוזר הקולי."
hours: { sunday: "00:00-24:00" }
"""
"""A short greeting: it is said once a call, and there is little to measure about it."""


@dataclass(frozen=True, slots=True)
class Delays:
    """What the emulated services take, in ms (and tokens a second)."""

    final_ms: int = 300
    first_token_ms: int = 250
    tokens_per_s: float = 50.0
    first_byte_ms: int = 120
    word_ms: int = 200


@dataclass(frozen=True, slots=True)
class Stage:
    """`server` is the process that was started; where it is a supervisor, `urls` are those of its media processes."""

    server: psutil.Process
    outside: psutil.Process
    base_url: str
    server_core: int
    load_core: int
    log: Path
    urls: tuple[str, ...] = ()

    @property
    def processes(self) -> list[psutil.Process]:
        """The server and what it runs."""
        return [self.server, *self.server.children(recursive=True)]

    @property
    def media(self) -> psutil.Process:
        """The (first) process that serves calls."""
        numbered = (one for one in self.server.children() if "--number" in one.cmdline())
        return next(numbered, self.server)

    @property
    def rss(self) -> int:
        return sum(process.memory_info().rss for process in self.processes)

    def setup(self, **more: Any) -> CallSetup:
        manners = more.pop("manners", Manners(quiet_ms=600, linger_ms=0))
        return CallSetup(base_url=self.base_url, auth_token=TOKEN, manners=manners, **more)

    async def rested(self, within_s: float = REST_S) -> None:
        """The work after calls, or of starting, is done: the server is all but idle, and takes calls."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            before = CpuTimes.now(self)
            await asyncio.sleep(2)
            idle = CpuTimes.now(self).share(before, self.server) < RESTING
            if idle and not (await self.metrics()).get("moked_pressure_level"):
                return
        if within_s:
            print(f"the server was still at work after {within_s:g} s", file=sys.stderr)

    async def metrics(self) -> dict[str, float]:
        """The server's `/metrics`, by 'name{labels}'; of several media processes the sum."""
        found: Counter[str] = Counter()
        async with httpx2.AsyncClient(trust_env=False) as http:
            for url in self.urls or (self.base_url,):
                text = (await http.get(url + "/metrics")).text
                lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
                found.update({name: float(value) for name, value in lines})
        return found


@asynccontextmanager
async def stage(
    delays: Delays,
    *,
    max_calls: int = 500,
    lines: Sequence[Say] = (),
    outside_options: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    processes: int = 0,
) -> AsyncIterator[Stage]:
    """Start everything, wait until calls are taken, end everything. `settings` of the server, by variable; `processes`
    for calls, 0: one for everything.

    With `lines` the recognizer hears their words where they are in the audio; without, the hard case of `HEARD`.
    """
    cores = sorted(os.sched_getaffinity(0))
    load_core = cores[-1]
    server_core = cores[0] if processes < 2 else -1  # with a core each, or as many as there are
    os.sched_setaffinity(0, {load_core})
    with tempfile.TemporaryDirectory(prefix="moked-bench-") as folder:
        data = Path(folder)
        options = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(delays).items()]
        if lines:
            options.append(f"--recordings={_recordings(lines, data)}")
        else:
            options += [f"--sentence={line}" for line in HEARD]
        options += outside_options
        outside_command = [sys.executable, "-m", "bench.outside", *options]
        with _process(outside_command, {load_core}, data / "outside.log", stdin=subprocess.PIPE) as outside:
            ports = json.loads(await _line(outside, data / "outside.log", r"^(\{.*\})$"))
            (data / "business.yaml").write_text(BUSINESS, "utf-8")
            environment = {
                **os.environ,
                "BUSINESS_PROFILE": str(data / "business.yaml"),
                "DATA_DIR": str(data / "data"),
                "LOG_FORMAT": "text",
                "MAX_CALLS": str(max_calls),
                "ADMIT_LAG_MS": "60000",  # a level shows what becomes of its calls; refusing is another bench's matter
                "TWILIO_AUTH_TOKEN": TOKEN,
                "SPEECH_EMULATOR_HOST": ports["speech"],
                "TEXTTOSPEECH_EMULATOR_HOST": ports["tts"],
                "OPENAI_BASE_URL": ports["llm"],
                "STT_FALLBACK": "none",
                "TTS_FALLBACK": "none",
                "DRAIN_SECONDS": "1",
                "FILLER_MS": "0",
                "PUBLIC_BASE_URL": "",
                **(settings or {}),
            }
            command = [
                str(Path(sys.executable).with_name("moked")),
                "serve",
                "--role",
                "all",
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                *(("--processes", str(processes)) if processes else ()),
            ]
            log = data / "server.log"
            among = {server_core} if processes < 2 else set(cores[: max(processes, len(cores) - 1)])
            with _process(command, among, log, env=environment, cwd=folder) as server:
                url = await _line(server, log, r"Listening on (http://\S+)")
                urls = ()
                if processes:
                    for number in range(1, processes + 1):
                        await _line(server, log, rf"Media process ({number}) listening")
                    urls = tuple(
                        re.search(rf"process_name=\"media {number}\".*url=(http://\S+)", log.read_text())[1]
                        for number in range(1, processes + 1)
                    )
                us = psutil.Process(server.pid)
                yield Stage(us, psutil.Process(outside.pid), url, server_core, load_core, log, urls)
    os.sched_setaffinity(0, set(cores))


@contextmanager
def _process(command: Sequence[str], cores: set[int], log: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `command` on `cores`, all its threads included: a thread begins on those of the one that started it."""
    before = os.sched_getaffinity(0)
    environment = {"PYTHONPATH": str(ROOT), **options.pop("env", os.environ)}
    with log.open("wb") as out:
        os.sched_setaffinity(0, cores)
        try:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, **options)
        finally:
            os.sched_setaffinity(0, before)
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _line(process: "subprocess.Popen[bytes]", log: Path, pattern: str) -> str:
    """The first group of `pattern` in what the process printed, as soon as it is there."""
    give_up = time.monotonic() + READY_S
    while time.monotonic() < give_up:
        text = log.read_text("utf-8", "replace")
        found = re.search(pattern, text, re.MULTILINE)
        if found:
            return found[1]
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}:\n{text}")
        await asyncio.sleep(0.1)
    raise SystemExit(f"not ready after {READY_S:g} s:\n{log.read_text('utf-8', 'replace')}")


# --- the caller's voice


async def caller_lines() -> tuple[tuple[Say, ...], str]:
    """`LINES` as audio, and whose voice it is."""
    return await spoken(LINES)


async def spoken(texts: Sequence[str]) -> tuple[tuple[Say, ...], str]:
    """These lines as audio, and whose voice it is: the embedded one, rendered once and kept; or bursts."""
    settings = Settings(_env_file=None, data_dir=Path(tempfile.gettempdir()) / "moked-bench")  # type: ignore[call-arg]
    try:
        lines = await rehearsal.steps(settings, list(texts), "", "", "jf_alpha", lambda done, total: None)
    except MokedError as error:
        print(f"no local voice ({error}): the caller speaks in bursts", file=sys.stderr)
        return tuple(Say(text, _bursts(text)) for text in texts), "bursts"
    return tuple(line for line in lines if isinstance(line, Say)), "Kokoro, local"


def _bursts(text: str) -> bytes:
    """Syllables of a buzzing voice, 350 ms a word."""
    time_s = np.arange(int(0.35 * len(text.split()) * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 120 * partial * time_s) / partial for partial in range(1, 20))
    envelope = 0.2 + 0.8 * np.abs(np.sin(2 * np.pi * 2.5 * time_s))
    return from_float((0.12 * np.asarray(buzz) * envelope).astype(np.float32))


def _recordings(lines: Sequence[Say], folder: Path) -> Path:
    """What the lines say, for the emulated recognizer: their words in equal shares of the voiced time by letters."""
    entries = []
    for number, line in enumerate(lines):
        assert line.audio is not None
        (folder / f"line{number}.ulaw").write_bytes(line.audio)
        frames = to_float(line.audio[: len(line.audio) // FRAME_BYTES * FRAME_BYTES]).reshape(-1, FRAME_BYTES)
        voiced = np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) * 32768 > VOICED_RMS)
        start, end = int(voiced[0]) * FRAME_MS, (int(voiced[-1]) + 1) * FRAME_MS
        words = line.text.split()
        places = np.cumsum([0, *(len(word) + 1 for word in words)])
        times = (start + (end - start) * places / places[-1]).astype(int).tolist()
        entries.append({"audio": f"line{number}.ulaw", "words": list(zip(times, times[1:], words, strict=False))})
    path = folder / "recordings.json"
    path.write_text(json.dumps(entries, ensure_ascii=False), "utf-8")
    return path


# --- figures


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Count, p50, p95, p99 and the worst; None of nothing."""
    if not values:
        return None
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(values, [50, 95, 99]))
    return {"count": len(values), "p50": p50, "p95": p95, "p99": p99, "max": round(float(max(values)), 1)}


def machine(command: str) -> dict[str, Any]:
    """When, where and how: beside every result, because no figure means anything without it."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "cpu": found[1] if found else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "group_nice": _group_nice(),
        "load_before": [round(value, 1) for value in os.getloadavg()],
    }


def _group_nice() -> int:
    """Priority of our scheduling group, where the kernel makes groups (sched_autogroup): the usual is 0."""
    try:
        return int(Path("/proc/self/autogroup").read_text().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def other_work(stage: Stage, before: "CpuTimes", after: "CpuTimes") -> float:
    """Cores that processes which are not ours kept busy meanwhile."""
    ours = sum(after.of[pid] - before.of[pid] for pid in after.of)
    return max(0.0, (after.system - before.system - ours) / (after.at - before.at))


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU seconds used until `at`: by the whole system, and by each of ours; the server with all its processes."""

    at: float
    system: float
    of: dict[int, float]

    @classmethod
    def now(cls, stage: Stage) -> "CpuTimes":
        whole = psutil.cpu_times()
        return cls(
            time.monotonic(),
            whole.user + whole.system + whole.nice + whole.irq + whole.softirq,
            {
                stage.server.pid: sum(sum(process.cpu_times()[:2]) for process in stage.processes),
                **{one.pid: sum(one.cpu_times()[:2]) for one in (stage.outside, psutil.Process())},
            },
        )

    def share(self, since: "CpuTimes", process: psutil.Process) -> float:
        """Cores the process used between the two."""
        return (self.of[process.pid] - since.of[process.pid]) / (self.at - since.at)


def save(folder: Path, name: str, result: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n")
    return path
