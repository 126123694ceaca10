"""Nothing reports to anybody: libraries that would are told not to."""

import os
import subprocess
import sys


def test_the_onnx_runtime_keeps_no_record_of_the_machine(tmp_path):
    program = "import moked.media.vad, pathlib; print([str(path) for path in pathlib.Path.home().rglob('*')])"
    plain = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={**plain, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_the_job_engine_talks_to_nobody(tmp_path):
    """On SQLite it needs no connection at all, so that it may make none."""
    program = """
import sys
from pathlib import Path
calls = []
sys.addaudithook(lambda event, args: calls.append(args) if event in ("socket.connect", "socket.getaddrinfo") else None)
from moked.jobs import Lane, engine
class Records: ...
folder = Path(sys.argv[1])
lanes = [Lane("calls", 1)]
with engine.running("sqlite:///x.db", folder, "me", [], Records(), lanes=lanes, enqueue=print) as running:
    running.take_over("nobody")
print(calls, sorted(path.name for path in Path.home().rglob("*")))
"""
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path / "worker")],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[] []"
    assert done.stderr == "", "nor does it write to the terminal"
