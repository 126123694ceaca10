"""Logs: what is in a line, what is never in it, and that logging does not wait."""

import io
import json
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked import log

logger = logging.getLogger("moked.test")


@pytest.fixture
def lines():
    """Configure with `start(...)`, log, then call the returned function for the lines written."""
    streams = []

    def start(fmt="json", transcripts=False, level="INFO"):
        stream = io.StringIO()
        streams.append(stream)
        log.configure(level, fmt, transcripts, stream=stream)

        def written():
            log.shutdown()
            text = stream.getvalue().splitlines()
            return [json.loads(line) for line in text] if fmt == "json" else text

        return written

    root = logging.getLogger()
    level = root.level
    yield start
    log.shutdown()
    root.setLevel(level)


def test_a_json_line(lines):
    written = lines()
    token = log.call_id.set("CA1")
    logger.info("call started", extra={"engine": "google", "ms": 12})
    log.call_id.reset(token)
    (line,) = written()
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "moked.test",
        "message": "call started",
        "call": "CA1",
        "engine": "google",
        "ms": 12,
    }


def test_personal_data_only_when_asked(lines):
    written = lines()
    logger.info("turn ended", extra={"pii_text": "שלום", "turn": 1, "nested": {"pii_name": "דנה", "x": 1}})
    logger.info("🟢 Final", extra={"pii_text": "שלום"})
    (line,) = written()
    assert "pii.text" not in line
    assert line["nested"] == {"x": 1}
    written = lines(transcripts=True)
    logger.info("🟢 Final", extra={"pii_text": "שלום 0501234567"})
    (line,) = written()
    assert line["message"] == "🟢 Final"
    assert line["pii.text"] == "שלום 0501234567"


@pytest.mark.parametrize(
    "number",
    [
        "0501234567",
        "+972501234567",
        "+972 50-123-4567",
        "(03) 123-4567",
        "050.123.4567",
        "4580 1234 5678 9012",
        "ב-0501234567",
    ],
)
def test_numbers_are_masked_everywhere_else(lines, number):
    written = lines()
    try:
        raise ValueError(f"cannot call {number}!")
    except ValueError as error:
        logger.exception("call failed for %s", number, extra={"to": number, "all": [number], "cause": error})
    (line,) = written()
    digits = "".join(c for c in number if c.isdigit())
    shown = "".join(c for c in json.dumps(line, ensure_ascii=False) if c.isdigit())
    assert digits[:7] not in shown
    assert "ValueError" in line["error"]
    assert f"…{digits[-2:]}" in line["to"]


@pytest.mark.parametrize(
    "text",
    ["CA12345678901234567890123456789012", "192.168.100.100", "2026-11-22", "127.0.0.1:54321", "part 123456", "1.5 s"],
)
def test_what_is_not_a_number_stays(text):
    assert log.masked(text) == text


@given(
    st.integers(7, 15).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n)),
    st.text("שלום ,.:-()", max_size=5),
)
def test_no_run_of_seven_digits_survives(number, around):
    assert number not in log.masked(f"{around}{number}{around}")


def test_access_lines_have_no_query(lines):
    written = lines()
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", "/calls/CA1/events?token=abc", "1.1", 200
    )
    logging.getLogger("uvicorn.error").info('%s - "WebSocket /media/twilio?token=abc" [accepted]', "127.0.0.1:5")
    access, socket = written()
    assert (access["path"], access["status"]) == ("/calls/CA1/events", 200)
    assert "abc" not in json.dumps([access, socket])
    assert socket["message"].endswith('"WebSocket /media/twilio" [accepted]')


def test_libraries_are_routed_and_chatty_ones_kept_quiet(lines):
    written = lines(level="DEBUG")
    logging.getLogger("twilio.http_client").info("BEGIN Twilio API Request")
    logging.getLogger("sqlalchemy.engine.Engine").info("INSERT")
    logging.getLogger("uvicorn.error").info("Started server process")
    assert [line["message"] for line in written()] == ["Started server process"]


def test_sql_parameters_are_left_out(lines):
    written = lines()
    try:
        raise RuntimeError("boom\n[SQL: INSERT INTO contact]\n[parameters: ('דנה', 'תל אביב')]\n(Background ...)")
    except RuntimeError:
        logger.exception("write failed")
    (line,) = written()
    assert "דנה" not in line["error"]
    assert "INSERT INTO contact" in line["error"]


def test_text_cannot_be_forged(lines):
    written = lines("text")
    logger.info("odd peer", extra={"agent": "x\n12:00:00.000 INFO forged\x1b[2J", "half": "\ud800"})
    (line,) = written()
    assert "\x1b" not in line
    assert line.split(" ", 1)[1].startswith("INFO    test: odd peer  ")


def test_json_survives_anything(lines):
    written = lines()
    logger.info(
        "odd peer", extra={"half": "\ud800", "thing": object(), "raw": b"\xff", "none": None, "tuple": {1: (2,)}}
    )
    (line,) = written()
    assert line["thing"].startswith("<object")


def test_a_full_queue_drops_counts_and_tells(lines, monkeypatch):
    """The listener is stuck (a terminal in scroll-lock): logging goes on at once, and the loss is told afterwards."""
    gate, stuck = threading.Event(), threading.Event()

    class Blocked(io.StringIO):
        def write(self, text):
            stuck.set()
            gate.wait(10)
            return super().write(text)

    monkeypatch.setattr(log, "QUEUE_BOUND", 3)
    stream = Blocked()
    log.configure("INFO", "json", stream=stream)
    logger.info("first")
    assert stuck.wait(5)
    for number in range(8):
        logger.info("more", extra={"number": number})
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, log.BoundedQueueHandler))
    assert handler.dropped == 5
    gate.set()
    while not handler.queue.empty():
        threading.Event().wait(0.005)
    logger.info("after")
    log.shutdown()
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in written] == ["first", *["more"] * 3, "log records dropped", "after"]
    assert written[-2]["records"] == 5


def test_the_record_of_others_is_not_changed(lines):
    seen = []

    class Other(logging.Handler):
        def emit(self, record):
            seen.append(record.getMessage())

    written, other = lines(), Other()
    logging.getLogger().addHandler(other)
    logger.info("%s of %s", 1, 2)
    logging.getLogger().removeHandler(other)
    assert seen == [written()[0]["message"]] == ["1 of 2"]
