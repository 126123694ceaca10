"""Logs: one line a record, JSON or readable text, with the call's id, and without personal data unless asked for.

    any thread, the event loop too        the listener's thread
    log.info("...", extra={...})  --queue (bounded)-->  format, redact, write

Logging never waits: a full queue drops the record and counts it, and the next line that gets through says how many
were lost. What people say, their names and numbers travel only under `pii_*` keys; they become `pii.*`, and are left
out unless the operator asks. Digits that look like a phone number are masked everywhere else, in exceptions too.
"""

import atexit
import copy
import json
import logging
import queue
import re
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final, Literal, TextIO

import msgspec

from moked import metrics

call_id: ContextVar[str] = ContextVar("call_id", default="")
"""The running call's id. Set it in the call's task; every record logged there carries it."""

QUEUE_BOUND: Final = 10_000

aside: ContextVar[str] = ContextVar("aside", default="")
"""What runs beside a call and may fail without harm ('shadow'): its records say so, and are never above INFO."""

_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "call", "process", "taskName"}
_TRANSCRIPT_MARKS: Final = ("🟡", "🟢")

# These would log request bodies, SQL parameters or a line per request: only their warnings are wanted.
_QUIET: Final = ("twilio", "httpx2", "httpcore2", "httpx", "httpcore", "sqlalchemy", "alembic", "grpc")
_ROUTED: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "flask", "flask.app", "werkzeug", "faster_whisper")

# 7 to 19 digits with the separators people write between them; not inside a longer word such as a CallSid.
_PHONE: Final = re.compile(r"(?<![A-Za-z0-9_])\+?\(?\d(?:[\s().\-]{0,2}\d){6,18}(?![A-Za-z0-9_])")
_NOT_A_PHONE: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|\d{4}-\d\d-\d\d")  # an IPv4 address, a date
_QUERY: Final = re.compile(r"(?<=[\w/\-.])\?[^\s\"'<>\])]*=[^\s\"'<>\])]*")
_SQL_PARAMETERS: Final = re.compile(r"\[parameters: .*?\]$", re.MULTILINE | re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(
    level: str = "INFO",
    fmt: Literal["auto", "json", "text"] = "auto",
    transcripts: bool = False,
    *,
    process: int = 0,
    stream: TextIO | None = None,
) -> None:
    """Send every logger of the process through the queue to `stream` (default stderr). Calling it again replaces it.

    `process` is this process's number among several on the host; where it has one, every line says it.
    """
    global _listener  # noqa: PLW0603  (logging is a process-wide thing)
    shutdown()
    stream = stream or sys.stderr
    terminal = stream.isatty()
    lines: logging.Formatter
    if fmt == "json" or (fmt == "auto" and not terminal):
        lines = JsonLines(transcripts, process)
    else:
        lines = TextLines(transcripts, process, colour=terminal)
    writer = logging.StreamHandler(stream)
    writer.setFormatter(lines)
    records: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_BOUND)
    _listener = QueueListener(records, writer)
    root = logging.getLogger()
    root.addHandler(BoundedQueueHandler(records, transcripts))
    root.setLevel(level)
    for name in (*_ROUTED, *_QUIET):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING if name in _QUIET else logging.NOTSET)
    _listener.start()


def shutdown() -> None:
    """Write what is queued and stop the listener. Does nothing when logging is not configured."""
    global _listener  # noqa: PLW0603
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, BoundedQueueHandler)]:
        root.removeHandler(handler)
    if _listener is not None:
        _listener.stop()
        _listener = None


_listener: QueueListener | None = None
atexit.register(shutdown)


class BoundedQueueHandler(QueueHandler):
    """Puts records on the queue without ever waiting; counts those that found it full."""

    def __init__(self, records: "queue.Queue[logging.LogRecord]", transcripts: bool) -> None:
        super().__init__(records)
        self.dropped = 0
        self._untold = 0
        self._transcripts = transcripts

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Fix what may change later (message, call id); the rest is done by the listener's thread."""
        record = copy.copy(record)  # other handlers, such as a test's, see it as it was
        if record.name == "uvicorn.access" and isinstance(record.args, tuple) and len(record.args) == 5:
            _, method, path, _, status = record.args
            record.msg, record.args = "http request", None
            vars(record).update(method=method, path=str(path).partition("?")[0], status=status)
        record.msg = record.message = record.getMessage()
        record.args = None
        record.call = call_id.get()
        if beside := aside.get():
            record.aside = beside
            record.levelno = min(record.levelno, logging.INFO)
            record.levelname = logging.getLevelName(record.levelno)
        return record

    def emit(self, record: logging.LogRecord) -> None:
        if not self._transcripts and str(record.msg).startswith(_TRANSCRIPT_MARKS):
            return
        if self._untold:
            self._tell()
        try:
            self.queue.put_nowait(self.prepare(record))
        except queue.Full:
            self.dropped += 1
            self._untold += 1
            metrics.queue_drops.labels("log").inc()
        except Exception:  # a bad format string of somebody's is reported by logging's own means
            self.handleError(record)

    def _tell(self) -> None:
        lost = logging.makeLogRecord(
            {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log records dropped"}
        )
        lost.message, lost.call = str(lost.msg), ""
        lost.records = self._untold
        try:
            self.queue.put_nowait(lost)
        except queue.Full:
            return
        self._untold = 0


class JsonLines(logging.Formatter):
    """One JSON object a line: ts, level, logger, message, process, call, then the record's own fields."""

    def __init__(self, transcripts: bool, process: int = 0) -> None:
        super().__init__()
        self._transcripts = transcripts
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {"ts": _utc(record.created), "level": record.levelname, "logger": record.name, **self._rest(record)}
        try:
            return msgspec.json.encode(line, enc_hook=_unknown).decode()
        except UnicodeEncodeError:  # half a surrogate pair, from the network
            return json.dumps(line, default=_unknown)

    def _rest(self, record: logging.LogRecord) -> dict[str, Any]:
        line: dict[str, Any] = {"message": masked(record.message)}
        if self._process:
            line["process"] = self._process
        if call := getattr(record, "call", ""):
            line["call"] = call
        for key, value in vars(record).items():
            if key.startswith("pii_"):
                if self._transcripts:
                    line["pii." + key.removeprefix("pii_")] = _hidden(value)
            elif key not in _OWN_FIELDS and not key.startswith("_"):
                line[key] = _masked_value(value)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = masked(_SQL_PARAMETERS.sub("[parameters]", "".join(_traceback(record.exc_info[1]))))
        return line


class TextLines(JsonLines):
    """The same for a person at a terminal: time, level, logger, message, key=value."""

    _COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

    def __init__(self, transcripts: bool, process: int = 0, *, colour: bool) -> None:
        super().__init__(transcripts, process)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        fields = self._rest(record)
        message, error = _one_line(fields.pop("message")), fields.pop("error", "")
        level = f"{record.levelname:<7}"
        pairs = "  ".join(f"{key}={_value(value)}" for key, value in fields.items())
        name = record.name.removeprefix("moked.")
        if self._colour:
            level = f"\x1b[{self._COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
            name, pairs = f"\x1b[2m{name}\x1b[0m", f"\x1b[2m{pairs}\x1b[0m" if pairs else ""
        line = f"{_utc(record.created)[11:23]} {level} {name}: {message}" + (f"  {pairs}" if pairs else "")
        return (f"{line}\n{error.rstrip()}" if error else line).encode("utf-8", "backslashreplace").decode()


def masked(text: str) -> str:
    """`text` without phone numbers (their last two digits stay, to tell them apart) and without URL queries."""
    return _PHONE.sub(_mask, _QUERY.sub("", text))


def _mask(match: re.Match[str]) -> str:
    return match[0] if _NOT_A_PHONE.fullmatch(match[0]) else f"[number …{match[0][-2:]}]"


def _hidden(value: Any) -> Any:
    """What people say, without card and identity numbers, whatever the operator asks for."""
    from moked.crm.redaction import Policy, hide_json  # not in processes that log no words

    return hide_json(value, Policy())


def _masked_value(value: Any) -> Any:
    match value:
        case str():
            return masked(value)
        case dict():
            return {masked(str(k)): _masked_value(v) for k, v in value.items() if not str(k).startswith("pii_")}
        case list() | tuple() | set() | frozenset():
            return [_masked_value(item) for item in value]
        case BaseException():
            return masked(f"{type(value).__name__}: {_SQL_PARAMETERS.sub('[parameters]', str(value))}")
        case _:
            return value


def _unknown(value: Any) -> str:
    return masked(repr(value))


def _traceback(error: BaseException) -> list[str]:
    return traceback.format_exception(error, limit=-30)


def _utc(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Control characters of a stranger must not draw on the operator's terminal, nor forge a line."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}" if match[0] != "\n" else "\\n", text)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _one_line(value) if value and " " not in value else json.dumps(value, ensure_ascii=False)
    return _one_line(str(value))
