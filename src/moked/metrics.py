"""Every metric: its name, meaning and labels. Other modules count here and define none of their own.

Labels are bounded: fixed words such as an engine's name or a reason, never a number, a name or a text of a caller.
A value that is no short word, and every value beyond the first `MAX_LABEL_SETS` of a metric, is counted as "other",
so that no stranger can fill the memory of the process or of the metrics server.
"""

import re
from typing import Any, Final, Self

import anyio
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

MAX_LABEL_SETS: Final = 64
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:\-]{0,47}")

_SECONDS: Final = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
_LAG_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Words(Counter):
    """A counter whose label values are words from a bounded set; see the top of the file."""

    def labels(self, *values: Any, **named: Any) -> Self:
        given = values or tuple(named.get(name, "") for name in self._labelnames)
        words = tuple(word if _WORD.fullmatch(word) else "other" for word in map(str, given))
        if words not in self._metrics and len(self._metrics) >= MAX_LABEL_SETS:
            words = ("other",) * len(words)
        return super().labels(*words)


calls_active = Gauge("moked_calls_active", "Calls on the line now.", registry=REGISTRY)
calls = Words("moked_calls", "Calls that ended, by outcome.", ["outcome"], registry=REGISTRY)
turn_response = Histogram(
    "moked_turn_response_seconds",
    "From the caller's last sound to our first frame on the socket.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
turn_component = Histogram(
    "moked_turn_component_seconds",
    "One step of a turn's response: endpoint, transcript, llm_ttft, tts_ttfb or sent.",
    ["component"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
barge_ins = Counter("moked_barge_ins", "Times a caller cut in and took the floor.", registry=REGISTRY)

stt_switches = Words(
    "moked_stt_switches",
    "Calls moved from one recogniser to another, by reason.",
    ["before", "after", "reason"],
    registry=REGISTRY,
)
stt_failures = Words("moked_stt_failures", "Recognition streams that failed, by engine.", ["engine"], registry=REGISTRY)
stt_interims = Words("moked_stt_interims", "Interim transcripts received.", ["engine"], registry=REGISTRY)
stt_finals = Words("moked_stt_finals", "Final transcripts received.", ["engine"], registry=REGISTRY)
vad_batch = Histogram(
    "moked_vad_batch_windows",
    "Audio windows of different calls in one run of the voice activity detector.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
    registry=REGISTRY,
)
tts_cache = Words(
    "moked_tts_cache", "Phrases looked up in the voice cache: hit or miss.", ["result"], registry=REGISTRY
)

calls_moved = Words(
    "moked_calls_moved",
    "Calls this process took over from another stream, by why that one ended.",
    ["why"],
    registry=REGISTRY,
)
move_gap = Histogram(
    "moked_move_gap_seconds",
    "How long a call that moved was served by nobody.",
    buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20),
    registry=REGISTRY,
)

tool_calls = Words(
    "moked_tool_calls", "Tools the agent used, by outcome: ok or failed.", ["tool", "outcome"], registry=REGISTRY
)
leads = Words("moked_leads", "New leads, by the kind of call that made them.", ["kind"], registry=REGISTRY)

queue_drops = Words(
    "moked_queue_drops", "Items dropped because a bounded queue was full.", ["queue"], registry=REGISTRY
)
webhooks = Words(
    "moked_webhooks",
    "The carrier's requests, by what became of them: incoming_call, resume, webhook_refused, webhook_failed, and why.",
    ["event", "reason"],
    registry=REGISTRY,
)
journal_spills = Counter(
    "moked_journal_spills",
    "Records of a call that went to the spill file because the database was away or behind.",
    registry=REGISTRY,
)
socket_refusals = Words(
    "moked_socket_refusals", "Media sockets refused or closed by us.", ["reason"], registry=REGISTRY
)
bad_messages = Words("moked_bad_messages", "Media messages that could not be used.", ["reason"], registry=REGISTRY)
child_restarts = Words(
    "moked_child_restarts", "Child processes started again after they died.", ["child"], registry=REGISTRY
)
loop_lag_peak = Gauge(
    "moked_loop_lag_peak_seconds", "Longest delay of the event loop in the last five seconds.", registry=REGISTRY
)
loop_lag_seconds = Histogram(
    "moked_loop_lag_seconds", "How late the event loop ran a timer.", buckets=_LAG_SECONDS, registry=REGISTRY
)


def render() -> tuple[bytes, str]:
    """The body and content type of `/metrics`."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


class LoopLag:
    """Measures how late the event loop is. `peak_s` is the worst of the last `window_s`, for admission."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._slot_start = float("-inf")
        self._slots = (0.0, 0.0)  # the worst of the previous half window, and of this one

    @property
    def peak_s(self) -> float:
        return max(self._slots)

    async def watch(self, interval: float = 0.1) -> None:
        """Run for ever beside the calls; `interval` in seconds."""
        while True:
            due = anyio.current_time() + interval
            await anyio.sleep(interval)
            now = anyio.current_time()
            self.note(now, max(0.0, now - due))

    def note(self, now: float, lag: float) -> None:
        if now - self._slot_start >= self._window_s / 2:
            self._slot_start = now
            self._slots = (self._slots[1], lag)
        else:
            self._slots = (self._slots[0], max(self._slots[1], lag))
        loop_lag_seconds.observe(lag)
        loop_lag_peak.set(self.peak_s)


loop_lag = LoopLag()


async def watch_loop_lag(interval: float = 0.1) -> None:
    """Keep `loop_lag` and its metrics up to date; one task a process."""
    await loop_lag.watch(interval)
