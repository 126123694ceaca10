"""A call's recording for the player of its page: the WAV file by ranges, and the shape of its sound.

Whoever listens is on record, once for as long as one listening lasts.
"""

from collections.abc import Iterator
from typing import Final

from flask import Blueprint, Response, abort, jsonify, request
from werkzeug.datastructures import ContentRange

from moked.crm.permissions import Permission
from moked.crm.recordings_port import Recorded
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts

_CHUNK: Final = 256 * 1024
_FEWEST_POINTS: Final = 200
_MOST_POINTS: Final = 2000
_POINTS_A_SECOND: Final = 10


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/calls/<sid>/recording.wav`, `/calls/<sid>/peaks.json`."""

    def found(sid: str) -> Recorded:
        recorded = None if desk.recordings is None else desk.recordings.find(actor().business_id, sid)
        if recorded is None:
            abort(404)
        return recorded

    @views.get("/calls/<sid>/recording.wav")
    @needs(Permission.LISTEN_RECORDING)
    def recording(sid: str) -> Response:
        """All of it, or the range that is asked for (RFC 9110, section 14)."""
        recorded = found(sid)
        wanted = request.range
        span = wanted.range_for_length(recorded.size) if wanted is not None else (0, recorded.size)
        if span is None:
            answer = Response(status=416)
            answer.content_range = ContentRange("bytes", None, None, recorded.size)
            return answer
        desk.edits.note_listening(actor(), sid)
        start, end = span
        answer = Response(_parts(recorded, start, end), 206 if wanted is not None else 200, mimetype="audio/wav")
        answer.content_length = end - start
        answer.accept_ranges = "bytes"
        if wanted is not None:
            answer.content_range = ContentRange("bytes", start, end, recorded.size)
        return answer

    @views.get("/calls/<sid>/peaks.json")
    @needs(Permission.LISTEN_RECORDING)
    def peaks(sid: str) -> Response:
        recorded = found(sid)
        points = min(max(recorded.duration_ms * _POINTS_A_SECOND // 1000, _FEWEST_POINTS), _MOST_POINTS)
        return jsonify(duration_ms=recorded.duration_ms, peaks=[_short(side) for side in recorded.peaks(points)])


def _parts(recorded: Recorded, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        part = recorded.read(start, min(_CHUNK, end - start))
        if not part:
            return
        yield part
        start += len(part)


def _short(side: list[float]) -> list[float]:
    return [round(value, 3) for value in side]
