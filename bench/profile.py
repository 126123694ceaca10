"""Where the server's time goes: the processor time of its threads, and py-spy's samples of whoever holds the lock of
the interpreter, put under the names of the parts. The network, gRPC's core and the detector's model compute without the
lock: they are in the threads' figures only.
"""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

RATE: Final = 100

# The first rule with a match anywhere in the stack gives the part's name, innermost frame first.
PARTS: Final = (
    ("voice activity (thread)", r"infer \(moked/media/vad"),
    ("voice activity (batching, windows)", r"moked/media/(vad|ear|speech)"),
    ("recognizer: Google stream", r"moked/stt/google|grpc/aio|google/cloud/speech|google/protobuf"),
    ("recognizer: relay, transcripts", r"moked/stt/"),
    ("media wire (JSON, base64)", r"moked/media/twilio"),
    ("turn taking, playout", r"moked/media/(turns|playout|endpoint)|moked/dialog/slots"),
    ("voice (synthesis client, clauses, cache)", r"moked/tts/|texttospeech"),
    ("agent (language model client)", r"moked/dialog/|openai/|httpx2?/|httpcore2?/|pydantic"),
    ("records (database thread)", r"sqlalchemy/|moked/crm/|journal"),
    ("web (Flask thread)", r"flask/|a2wsgi|moked/web"),
    ("session, replies", r"moked/media/(session|reply|turnlog)|moked/bus"),
    ("web socket", r"uvicorn/|websockets/|moked/media/(connection|server)|starlette"),
    ("metrics", r"prometheus|moked/metrics"),
    ("task switching (anyio, asyncio)", r"anyio/|asyncio/"),
    ("event loop (uvloop)", r"moked/cli|uvloop|<module>"),
)
_RULES: Final = [(name, re.compile(rule)) for name, rule in PARTS]


def _spy() -> str:
    return shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"


def us() -> psutil.Process:
    return psutil.Process()


def start(pid: int, out: Path, seconds: int) -> "subprocess.Popen[bytes]":
    """Sample for `seconds` whoever holds the interpreter's lock; collapsed stacks go to `out`."""
    command = [_spy(), "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE)]
    command += ["--format", "raw", "--full-filenames", "--gil", "--nonblocking", "--output", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@dataclass(frozen=True, slots=True)
class Threads:
    """Processor seconds of each thread of a process until `at`."""

    at: float
    seconds: dict[int, float]

    @classmethod
    def now(cls, process: psutil.Process) -> "Threads":
        return cls(time.monotonic(), {one.id: one.user_time + one.system_time for one in process.threads()})

    def cores(self, since: "Threads", names: Mapping[int, str]) -> dict[str, float]:
        """Cores used since then, by kind of thread, the busiest first."""
        kinds: defaultdict[str, float] = defaultdict(float)
        for thread, seconds in self.seconds.items():
            name = names.get(thread, "gRPC and other native threads")
            kind = next((kind for part, kind in THREADS.items() if part in name), name)
            kinds[kind] += (seconds - since.seconds.get(thread, 0.0)) / (self.at - since.at)
        ranked = sorted(kinds.items(), key=lambda one: -one[1])
        return {kind: round(cores, 3) for kind, cores in ranked if cores >= 0.0005}


THREADS: Final = {
    "MainThread": "event loop",
    "vad": "voice activity",
    "AnyIO worker": "records and other work off the loop",
    "WSGI": "web (Flask)",
    "uvloop": "name look-ups",
}


def thread_names(pid: int) -> dict[int, str]:
    dump = subprocess.run([_spy(), "dump", "--pid", str(pid)], capture_output=True, text=True, check=False).stdout
    return {int(number): name for number, name in re.findall(r'^Thread (\d+) \(.*?\): "(.*)"$', dump, re.MULTILINE)}


def digest(stacks: str, *, calls: int, cores: float, threads: Mapping[str, float]) -> dict[str, Any]:
    """Shares by part, and the busiest functions: `self` is the function and the C code it calls, `all` what it leads
    to."""
    parts: Counter[str] = Counter()
    selves: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        stack, _, number = line.rpartition(" ")
        frames, count = stack.split(";"), int(number)
        if not frames[-1]:
            continue  # the stack changed while it was read
        total += count
        parts[_part(frames)] += count
        selves[_short(frames[-1])] += count
    return {
        "calls": calls,
        "server_cores": round(cores, 3),
        "samples": total,
        "threads": dict(threads),
        "parts": {name: round(100 * count / total, 1) for name, count in parts.most_common()},
        "functions": {name: round(100 * count / total, 1) for name, count in selves.most_common(25)},
    }


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, rule in _RULES[:-2]:
            if rule.search(frame):
                return name
    for name, rule in _RULES[-2:]:
        if any(rule.search(frame) for frame in frames):
            return name
    return "other"


def _short(frame: str) -> str:
    return re.sub(r"\((?:.*/)?(?:site-packages|src|lib/python3\.\d+)/(.*?):\d+\)", r"(\1)", frame)
