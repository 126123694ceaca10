"""What recording costs: CPU of a call on the event loop's thread, and in the writer's, measured without a network.

python -m bench.recording --calls 60 --seconds 60
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

from moked.crm.sealed import new_key
from moked.recording.recorder import Recorder

FRAME_MS = 20


class Rows:
    """Every call is to be recorded."""

    def begin(self, call_sid: str, stream: int, at: int) -> tuple[str, bytes] | None:
        return f"{call_sid:0>32}", new_key()


def measure(calls: int, seconds: int) -> dict[str, float]:
    """Percent of a core that a call takes: `loop` in its own thread, `writer` in the recorder's."""
    caller, agent = bytes(range(160)), bytes(range(100)) * 8
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder), Rows(), queued=1 << 20)
        began, loop = time.process_time(), time.thread_time()
        with recorder.running():
            streams = [recorder.call(str(number), 0) for number in range(calls)]
            for at in range(0, seconds * 1000, FRAME_MS):
                for stream in streams:
                    if at % 100 == 0:
                        stream.played(at, agent)
                    stream.feed(at + FRAME_MS, caller)
            for stream in streams:
                stream.close()
            loop_s = time.thread_time() - loop
        total_s = time.process_time() - began
    talked = calls * seconds
    return {
        "calls": calls,
        "seconds": seconds,
        "loop_percent": round(100 * loop_s / talked, 3),
        "writer_percent": round(100 * (total_s - loop_s) / talked, 3),
        "threads": threading.active_count(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    print(json.dumps(measure(given.calls, given.seconds)))


if __name__ == "__main__":
    main()
