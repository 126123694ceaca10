"""The playout clock (pure): what audio goes to the carrier when, and what of it the caller has heard.

The carrier buffers whatever it gets and plays it in order at 8 kHz. We stay only `lead_ms` ahead of its playhead, so
that a barge-in discards little and we know what was heard to the word. The playhead is the clock since the first byte,
corrected by marks: a mark comes back when the audio before it was played. Marks also come back after `clear` without
having been played (Twilio's documentation of `clear`), so each carries the generation it was made in and a stale one
says nothing.

    begin_clause(text), add(audio), end_clause() ... end_reply()      what is to be heard, in order
    poll(now) -> Audio | Mark | Finished               what to do now; `deadline` says when to ask again
    hold / resume                                      stop and go on, nothing is lost
    pause(now)                                         the carrier is told `clear`; goes on from the same sample
    clear(now) -> Heard                                the caller has the floor
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from moked.audio import SAMPLES_PER_MS

_MARK_GRACE_MS: Final = 1500
_CARRIER_LAG_MS: Final = 200  # what marks may show that it is behind our clock
_SAMPLES_A_LETTER: Final = 75 * SAMPLES_PER_MS  # ordinary Hebrew speech, blanks included


@dataclass(frozen=True, slots=True)
class Audio:
    """Send these mu-law bytes. The carrier plays them from call ms `at`, as far as the clock can tell."""

    audio: bytes
    reply: int
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """Send a mark of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Finished:
    """All audio of this reply has been played, as far as the clock or a mark can tell."""

    reply: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What reached the caller's ear of a reply. `complete` if nothing was left out."""

    reply: int
    text: str
    complete: bool


Action = Audio | Mark | Finished


@dataclass(slots=True)
class _Clause:
    text: str
    start: int
    end: int


@dataclass(slots=True)
class _PendingMark:
    name: str
    position: int


class Playout:
    """One a call. Positions are samples since the call began; every method that takes `now` takes call ms."""

    def __init__(self, *, lead_ms: int = 300, chunk_ms: int = 100, capacity_ms: int = 10_000) -> None:
        self._lead_ms = lead_ms
        self._chunk = chunk_ms * SAMPLES_PER_MS
        self._kept = (lead_ms + chunk_ms + _CARRIER_LAG_MS) * SAMPLES_PER_MS
        self._capacity = capacity_ms * SAMPLES_PER_MS
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._sent = 0
        self._recent: deque[bytes] = deque()  # what was sent last, for as long as it may still have to be played
        self._recent_bytes = 0
        self._empty_at = 0  # call ms at which all that was sent will have been played
        self._generation = 0
        self._marks_made = 0
        self._clauses: deque[_Clause] = deque()
        self._clause_start = 0
        self._open_text = ""  # of the clause whose audio is still being added
        self._unsent_marks: deque[_PendingMark] = deque()
        self._open_marks: dict[str, int] = {}
        self._confirmed = 0  # position that a mark says was played
        self._reply = 0
        self._reply_start = 0
        self._ended: int | None = None  # reply whose audio is complete in the queue
        self._held = False
        self.paused = False  # the carrier has nothing of ours to play
        self.stale_marks = 0
        self.unknown_marks = 0

    # --- what is to be heard

    def begin_reply(self, reply: int) -> None:
        """Audio added from here on belongs to `reply`; what was known of former ones is forgotten."""
        self._reply = reply
        self._reply_start = self._position_end
        self._ended = None
        self._clauses.clear()
        self._clause_start = self._position_end
        self._open_text = ""

    def add(self, audio: bytes) -> None:
        """Queue audio. The caller respects `room_ms`; what is added beyond it is still played."""
        if audio:
            self._queue.append(audio)
            self._queued += len(audio)

    def begin_clause(self, text: str) -> None:
        """The audio added from here on says `text`."""
        self._open_text = text
        self._clause_start = self._position_end

    def end_clause(self) -> None:
        """The clause's audio is complete; a mark follows it."""
        end = self._position_end
        self._clauses.append(_Clause(self._open_text, self._clause_start, end))
        self._open_text = ""
        self._clause_start = end
        self._unsent_marks.append(_PendingMark(self._mark_name(), end))

    def _mark_name(self) -> str:
        self._marks_made += 1
        return f"{self._generation}:{self._reply}:{self._marks_made}"

    def end_reply(self) -> None:
        """No more audio for this reply: `Finished` follows when it has been played."""
        self._ended = self._reply

    @property
    def _position_end(self) -> int:
        return self._sent + self._queued

    @property
    def room_ms(self) -> int:
        """How much more audio fits before the producer should wait."""
        return max(0, self._capacity - self._queued) // SAMPLES_PER_MS

    def unheard_ms(self, now: int) -> int:
        """How much of what was added is still to be heard."""
        return self._queued // SAMPLES_PER_MS + self._ahead(now)

    @property
    def reply_ms(self) -> int:
        """How long the current reply's audio is, as far as it is made."""
        return (self._position_end - self._reply_start) // SAMPLES_PER_MS

    # --- time

    def poll(self, now: int) -> Sequence[Action]:
        """What to send now. Call again at `deadline`, and after every other method."""
        actions: list[Action] = []
        if not self._held:
            while self._queued and self._ahead(now) <= self._lead_ms - self._chunk // SAMPLES_PER_MS:
                audio = self._take()
                self._sent += len(audio)
                at = max(now, self._empty_at)
                self._empty_at = at + -(-len(audio) // SAMPLES_PER_MS)
                self._remember(audio)
                actions.append(Audio(audio, self._reply, at))
                actions += self._due_marks()
            actions += self._due_marks()
        if self._ended is not None and not self._queued and self._all_played(now):
            actions.append(Finished(self._ended))
            self._ended = None
        return actions

    @property
    def deadline(self) -> int | None:
        """When `poll` will have something to do, if nothing else happens."""
        if self._queued:
            if self._held:
                return None
            return self._empty_at - self._lead_ms + self._chunk // SAMPLES_PER_MS
        return self._empty_at if self._ended is not None else None

    def hold(self) -> None:
        self._held = True

    def resume(self) -> None:
        self._held = self.paused = False

    def pause(self, now: int) -> None:
        """Silence at once, and nothing is lost: the shell tells the carrier to clear, and what it had not played yet
        is queued again, with its marks."""
        playhead = self.playhead(now)
        unplayed = self._sent - playhead
        back = b"".join(self._recent)[-unplayed:] if unplayed else b""
        if back:
            self._queue.appendleft(back)
            self._queued += len(back)
            self._sent -= len(back)
        self._recent.clear()
        self._recent_bytes = 0
        self._confirmed = min(max(self._confirmed, playhead), self._sent)
        self._generation += 1
        lost = [position for position in self._open_marks.values() if position > self._sent]
        for position in sorted(lost, reverse=True):
            self._unsent_marks.appendleft(_PendingMark(self._mark_name(), position))
        self._open_marks.clear()
        self._empty_at = now
        self._held = self.paused = True

    @property
    def reply(self) -> int:
        """The reply that is being heard, or was the last."""
        return self._reply

    @property
    def held(self) -> bool:
        return self._held

    def marked(self, now: int, name: str) -> int | None:
        """A mark came back. Returns the reply it belongs to, None if it is stale or not ours."""
        position = self._open_marks.pop(name, None)
        if position is None:
            if self._is_stale(name):
                self.stale_marks += 1
            else:
                self.unknown_marks += 1
            return None
        self._confirmed = max(self._confirmed, position)
        # The carrier plays on from there: what it still has cannot be played before this.
        self._empty_at = max(self._empty_at, now + (self._sent - position) // SAMPLES_PER_MS)
        return int(name.split(":")[1])

    def _is_stale(self, name: str) -> bool:
        generation, _, rest = name.partition(":")
        return bool(rest) and generation.isdigit() and int(generation) < self._generation

    def clear(self, now: int) -> Heard:
        """The caller has the floor: forget what is queued; the shell tells the carrier to clear."""
        heard = self.heard(now)
        self._queue.clear()
        self._queued = 0
        self._unsent_marks.clear()
        self._open_marks.clear()
        self._generation += 1
        self._recent.clear()
        self._recent_bytes = 0
        self._empty_at = now
        self._ended = None
        self._held = self.paused = False
        self._clauses.clear()
        self._clause_start = self._sent
        self._open_text = ""
        return heard

    def confirmed(self, now: int) -> bool:
        """Everything was heard for certain: all marks are back, or so late that they will not come."""
        return not self._queued and (not self._open_marks or now >= self._empty_at + _MARK_GRACE_MS)

    @property
    def confirm_deadline(self) -> int:
        """When `confirmed` will be true at the latest, once everything is sent."""
        return self._empty_at + _MARK_GRACE_MS

    def heard(self, now: int) -> Heard:
        """The current reply as far as the caller's ear got it: whole clauses, and whole words of the current one."""
        playhead = self.playhead(now)
        parts: list[str] = []
        complete = self._position_end == self._clause_start
        clauses = list(self._clauses)
        if self._open_text:  # nobody knows yet how long it will be: by the pace of speech, at least what is there
            guess = self._clause_start + len(self._open_text) * _SAMPLES_A_LETTER
            clauses.append(_Clause(self._open_text, self._clause_start, max(guess, self._position_end + 1)))
        for clause in clauses:
            if playhead >= clause.end:
                parts.append(clause.text)
                continue
            complete = False
            if playhead > clause.start:
                parts.append(_words_within(clause.text, (playhead - clause.start) / (clause.end - clause.start)))
            break
        return Heard(self._reply, "".join(parts).strip(), complete)

    def playhead(self, now: int) -> int:
        """The sample that is in the caller's ear, by the clock and the marks; never beyond what was sent."""
        by_clock = self._sent - self._ahead(now) * SAMPLES_PER_MS
        return max(self._confirmed, min(self._sent, by_clock))

    def _ahead(self, now: int) -> int:
        """How much sent audio the carrier still has to play, in ms."""
        return max(0, self._empty_at - now)

    # --- steps

    def _all_played(self, now: int) -> bool:
        return self._confirmed >= self._sent or now >= self._empty_at

    def _remember(self, audio: bytes) -> None:
        self._recent.append(audio)
        self._recent_bytes += len(audio)
        while self._recent_bytes - len(self._recent[0]) >= self._kept:
            self._recent_bytes -= len(self._recent.popleft())

    def _take(self) -> bytes:
        """Up to one chunk, never across a mark."""
        size = min(self._chunk, self._queued)
        if self._unsent_marks:
            size = min(size, self._unsent_marks[0].position - self._sent) or size
        head = self._queue[0]
        if len(head) > size:
            self._queue[0] = head[size:]
            audio = head[:size]
        else:
            parts = []
            left = size
            while left:
                head = self._queue[0]
                if len(head) <= left:
                    parts.append(self._queue.popleft())
                else:
                    parts.append(head[:left])
                    self._queue[0] = head[left:]
                left -= len(parts[-1])
            audio = b"".join(parts)
        self._queued -= len(audio)
        return audio

    def _due_marks(self) -> list[Action]:
        marks: list[Action] = []
        while self._unsent_marks and self._unsent_marks[0].position <= self._sent:
            mark = self._unsent_marks.popleft()
            self._open_marks[mark.name] = mark.position
            marks.append(Mark(mark.name))
        return marks


def _words_within(text: str, share: float) -> str:
    """The whole words in the first `share` (0..1) of `text`."""
    length = int(len(text) * share)
    if length >= len(text):
        return text
    cut = text.rfind(" ", 0, length + 1)
    return text[:cut] if cut > 0 else ""
