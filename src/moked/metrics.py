"""Every metric: its name, meaning and labels. Other modules count here and define none of their own.

Labels are bounded: fixed words such as an engine's name or a reason, never a number, a name or a text of a caller.
A value that is no short word, and every value beyond the first `MAX_LABEL_SETS` of a metric, is counted as "other",
so that no stranger can fill the memory of the process or of the metrics server.
"""

import re
from collections.abc import Callable
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
messages = Words(
    "moked_messages",
    "Written messages by channel: received, answered, sent or why not, and how far ours came.",
    ["channel", "what"],
    registry=REGISTRY,
)
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
job_steps = Words(
    "moked_job_steps",
    "Tries of steps of the work after calls, by step and result: ok, or why it failed.",
    ["step", "result"],
    registry=REGISTRY,
)
jobs_open = Gauge(
    "moked_jobs",
    "Jobs by state: waiting, queued, running, or failed (dead letters, which a person has to look at).",
    ["state"],
    registry=REGISTRY,
)
notice_delay = Histogram(
    "moked_notice_seconds",
    "From the end of a call to the message about it to the people of the business.",
    buckets=(0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 300.0, 3600.0),
    registry=REGISTRY,
)
barge_ins = Counter("moked_barge_ins", "Times a caller cut in and took the floor.", registry=REGISTRY)
interruptions = Words(
    "moked_interruptions",
    "Sounds over our voice that held it, by what came of them: taken (the floor) or resumed (a cough, an 'aha').",
    ["outcome"],
    registry=REGISTRY,
)
decisions = Words(
    "moked_turn_decisions",
    "Ends of turns, by the reason for deciding so and what came of it: answered, reopened (the caller went on before "
    "our first sound), cut_in, or cut_off (within a second of it: they had probably not finished).",
    ["reason", "outcome"],
    registry=REGISTRY,
)
fillers = Words(
    "moked_fillers", "Times the caller was told to wait a moment: first or second.", ["which"], registry=REGISTRY
)

stt_switches = Words(
    "moked_stt_switches",
    "Calls moved from one recogniser to another, by reason.",
    ["before", "after", "reason"],
    registry=REGISTRY,
)
stt_failures = Words("moked_stt_failures", "Recognition streams that failed, by engine.", ["engine"], registry=REGISTRY)
stt_deaf = Counter("moked_stt_deaf", "Times a call had no recogniser at all and went on by keys.", registry=REGISTRY)
stt_suspicions = Words(
    "moked_stt_suspicions",
    "Recognition streams left because nothing came while somebody spoke (stalled), or all came late (slow).",
    ["engine", "sign"],
    registry=REGISTRY,
)
stt_open = Histogram(
    "moked_stt_open_seconds", "Time to open a recognition stream.", buckets=_SECONDS, registry=REGISTRY
)
stt_replayed = Words(
    "moked_stt_replayed_seconds",
    "Call audio that a new recognition stream heard again or late, by engine.",
    ["engine"],
    registry=REGISTRY,
)
stt_lost = Counter(
    "moked_stt_lost_seconds",
    "Call audio that no recogniser heard: none could be used for longer than the tape is. Must be 0.",
    registry=REGISTRY,
)
stt_trimmed = Counter(
    "moked_stt_trimmed_words", "Words that two recognition streams heard and the call was told once.", registry=REGISTRY
)
stt_partial_gap = Histogram(
    "moked_stt_partial_gap_seconds",
    "Longest speech of a call without a result of its streaming recogniser, once a call.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
stt_interims = Words("moked_stt_interims", "Interim transcripts received.", ["engine"], registry=REGISTRY)
stt_finals = Words("moked_stt_finals", "Final transcripts received.", ["engine"], registry=REGISTRY)
rollout_calls = Words(
    "moked_rollout_calls",
    "Calls by how they are heard (streaming, utterances; none without Google) and what decided; moved ones again.",
    ["mode", "why"],
    registry=REGISTRY,
)
rollout_percent = Gauge(
    "moked_rollout_streaming_percent",
    "Share of the calls that is streamed, as this process knows it.",
    registry=REGISTRY,
)
rollbacks = Words(
    "moked_rollbacks",
    "Times the guard took streaming back, by reason; excused: it did not, because the other mode was no better.",
    ["reason"],
    registry=REGISTRY,
)
shadow_calls = Words(
    "moked_shadow_calls",
    "Shadow recognitions by how they ended: call, load, moved or failed; refused: there was no room for one.",
    ["ended"],
    registry=REGISTRY,
)
second_passes = Words(
    "moked_second_passes",
    "Turns heard again by a second recogniser: agreed, differed, corrected (only the second had it), unhelpful, late "
    "(after the answer) or missed (busy, failed or far too late).",
    ["outcome"],
    registry=REGISTRY,
)
second_pass = Histogram(
    "moked_second_pass_seconds",
    "From the begin of an answer to what the second recogniser heard.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
recordings = Words(
    "moked_recordings",
    "Parts of recordings: kept (complete and stored) or deleted (refused, erased or purged).",
    ["outcome"],
    registry=REGISTRY,
)
stored_transcripts = Words(
    "moked_stored_transcripts",
    "Transcripts written after the call: stored, failed (tried again) or expired (the audio was deleted).",
    ["outcome"],
    registry=REGISTRY,
)
vad_batch = Histogram(
    "moked_vad_batch_windows",
    "Audio windows of different calls in one run of the voice activity detector.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
    registry=REGISTRY,
)
tts_cache = Words(
    "moked_tts_cache", "Phrases looked up in the voice cache: hit or miss.", ["result"], registry=REGISTRY
)
second_voice = Words(
    "moked_second_voice",
    "Clauses another voice spoke because the first gave no sound, by that voice.",
    ["voice"],
    registry=REGISTRY,
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
webhook_deliveries = Words(
    "moked_webhook_deliveries",
    "Attempts to send an event to another program: delivered, retry, failed (given up), gone (removed meanwhile).",
    ["outcome"],
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
child_memory = Gauge(
    "moked_child_memory_bytes",
    "Resident memory of a child process: Whisper, the local voice.",
    ["child"],
    registry=REGISTRY,
)
stt_seats = Gauge(
    "moked_stt_seats",
    "Calls that listen through an engine of limited capacity: taken, and limit.",
    ["engine", "state"],
    registry=REGISTRY,
)
loop_lag_peak = Gauge(
    "moked_loop_lag_peak_seconds", "Longest delay of the event loop in the last five seconds.", registry=REGISTRY
)
loop_lag_seconds = Histogram(
    "moked_loop_lag_seconds", "How late the event loop ran a timer.", buckets=_LAG_SECONDS, registry=REGISTRY
)
pressure_level = Gauge(
    "moked_pressure_level", "How hard pressed the process is: 0 calm, 1 busy, 2 full (no new calls).", registry=REGISTRY
)
call_limits = Words(
    "moked_call_limits",
    "Calls that reached a limit of their own: seconds, tokens or tools.",
    ["limit"],
    registry=REGISTRY,
)
llm_tokens = Counter("moked_llm_tokens", "Tokens of the language model, in and out.", registry=REGISTRY)

dials = Words("moked_dials", "Calls we placed, by how they ended.", ["kind", "result"], registry=REGISTRY)


def render() -> tuple[bytes, str]:
    """The body and content type of `/metrics`."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


class LoopLag:
    """Measures how late the event loop is. `peak_s` is the worst of the last `window_s`."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._slot_start = float("-inf")
        self._slots = (0.0, 0.0)  # the worst of the previous half window, and of this one

    @property
    def peak_s(self) -> float:
        return max(self._slots)

    async def watch(self, interval: float = 0.1, tell: Callable[[float, float], None] | None = None) -> None:
        """Run for ever beside the calls; `interval` in seconds. `tell` gets every measurement: (now, lag)."""
        while True:
            due = anyio.current_time() + interval
            await anyio.sleep(interval)
            now = anyio.current_time()
            lag = max(0.0, now - due)
            self.note(now, lag)
            if tell is not None:
                tell(now, lag)

    def note(self, now: float, lag: float) -> None:
        if now - self._slot_start >= self._window_s / 2:
            self._slot_start = now
            self._slots = (self._slots[1], lag)
        else:
            self._slots = (self._slots[0], max(self._slots[1], lag))
        loop_lag_seconds.observe(lag)
        loop_lag_peak.set(self.peak_s)


loop_lag = LoopLag()


async def watch_loop_lag(interval: float = 0.1, tell: Callable[[float, float], None] | None = None) -> None:
    """Keep `loop_lag` and its metrics up to date; one task a process."""
    await loop_lag.watch(interval, tell)
