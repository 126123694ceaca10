"""Where the server's time goes: py-spy's samples, put under the names of the parts."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

import psutil

RATE: Final = 200

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


def us() -> psutil.Process:
    return psutil.Process()


def start(pid: int, out: Path, seconds: int) -> "subprocess.Popen[bytes]":
    """Sample the server for `seconds`, all threads that run; collapsed stacks go to `out`."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    command = [program, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE)]
    command += ["--format", "raw", "--full-filenames", "--output", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digest(stacks: str, *, calls: int, cores: float) -> dict[str, Any]:
    """Shares by part, and the busiest functions: `self` is the function and the C code it calls, `all` what it leads
    to."""
    parts: Counter[str] = Counter()
    selves: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        stack, _, number = line.rpartition(" ")
        frames, count = stack.split(";"), int(number)
        total += count
        parts[_part(frames)] += count
        selves[_short(frames[-1])] += count
    return {
        "calls": calls,
        "server_cores": round(cores, 3),
        "samples": total,
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
