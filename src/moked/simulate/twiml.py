"""A small interpreter of TwiML (pure): what Twilio does with a webhook's answer, verb by verb.

It stops where somebody must act: open a media stream (`ConnectStream`), request another document (`Fetch`), or end the
call (`Finished`). What the caller would hear on the way is collected in `trace`; nothing waits, so a spoken sentence
and a pause take no time.

    load(document) -> step() -> ConnectStream -> (the stream ends) -> step() -> Fetch -> load(...) -> ... -> Finished

Rules taken from Twilio's TwiML pages: when `<Connect>` ends its `action` is requested, without one the next verb runs,
after the last verb the call is hung up; `<Record>` and `<Gather>` without an `action` request *their own document
again*; nothing after `<Redirect>` runs. Codes are those of Twilio's error dictionary.
"""

import xml.etree.ElementTree as ET
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from moked.simulate.wire import CarrierWarning

MAX_DOCUMENTS: Final = 20
"""More than this in one call is a loop of redirects."""

MAX_PARAMETER: Final = 500
"""Characters of a `<Parameter>`'s name and value together."""

APOLOGY: Final = "We are sorry, an application error has occurred. Goodbye."
"""What Twilio says when it cannot use an answer and there is no fallback URL."""


@dataclass(frozen=True, slots=True)
class ConnectStream:
    """Open a bidirectional media stream; `url` is absolute and otherwise as the TwiML has it."""

    url: str
    parameters: Mapping[str, str]
    name: str
    status_callback: str
    status_method: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Request `url`, with `parameters` beside the usual ones of the call, and `load` the answer."""

    url: str
    method: str
    parameters: Mapping[str, str] = field(default_factory=dict)


class Finish(StrEnum):
    HUNG_UP = "hung_up"  # a <Hangup>
    NO_MORE_VERBS = "no_more_verbs"
    REJECTED = "rejected"
    ERROR = "error"  # the document cannot be used; the caller heard Twilio's apology


@dataclass(frozen=True, slots=True)
class Finished:
    how: Finish
    detail: str = ""


Step = ConnectStream | Fetch | Finished


@dataclass(frozen=True, slots=True)
class Experienced:
    """One thing the caller went through: the verb in small letters, and the words, number or seconds."""

    verb: str
    text: str


@dataclass(frozen=True, slots=True)
class World:
    """What happens outside: how dialled people answer, what the caller records and presses when asked by TwiML.

    `dial_status` is Twilio's: completed, busy, no-answer, failed, canceled. `digits` are pressed at one `<Gather>`
    after the other, each takes as many as end it; at a comma the caller presses nothing and lets it time out.
    """

    dial_status: str = "completed"
    recorded_seconds: int = 5
    digits: str = ""


class TwimlRun:
    """The carrier's place in a call's TwiML."""

    def __init__(self, world: World = World(), *, account_sid: str = "", call_sid: str = "") -> None:
        self._world = world
        self._account_sid = account_sid
        self._call_sid = call_sid
        self._keys = world.digits
        self._sids = 0
        self._url = ""
        self._verbs: deque[ET.Element] = deque()
        self._after_stream: Fetch | None = None
        self._documents = 0
        self._failed: Finished | None = None
        self._trace: list[Experienced] = []
        self._warnings: list[CarrierWarning] = []
        self.transferred = False  # somebody answered a <Dial>

    @property
    def trace(self) -> tuple[Experienced, ...]:
        return tuple(self._trace)

    @property
    def warnings(self) -> tuple[CarrierWarning, ...]:
        return tuple(self._warnings)

    def load(self, url: str, body: str, *, status: int = 200, content_type: str = "text/xml") -> None:
        """Take the answer of `url`; it replaces what was left of the document before."""
        self._url = url
        self._verbs.clear()
        self._after_stream = None
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            return self._fail(11200, "loop", f"more than {MAX_DOCUMENTS} documents in one call, the last from {url}")
        if not 200 <= status < 300:
            return self._fail(11200, "http", f"{url} answered {status}")
        if "xml" not in content_type.lower():
            return self._fail(12300, "content_type", f"{url} answered {content_type or 'no content type'}, not XML")
        if "<!DOCTYPE" in body:
            return self._fail(12100, "doctype", "a document type declaration is not TwiML")
        try:
            root = ET.fromstring(body)  # noqa: S314 - no document type, hence no entities
        except ET.ParseError as error:
            return self._fail(12100, "parse", f"the document is not XML: {error}")
        if root.tag != "Response":
            return self._fail(12102, "root", f"the root element is <{root.tag}>, not <Response>")
        for verb in root:
            if verb.tag not in _VERBS and verb.tag not in _NOT_SIMULATED:
                return self._fail(12200, "unknown_verb", f"<{verb.tag}> is not a verb")
        self._verbs.extend(root)
        return None

    def fail(self, detail: str) -> None:
        """The document could not be had at all: no connection, no answer in time."""
        self._fail(11200, "http", detail)

    def step(self) -> Step:
        """Go on to the next thing that needs somebody to act. After `ConnectStream`: when that stream is over."""
        if self._failed is not None:
            return self._failed
        if self._after_stream is not None:
            fetch, self._after_stream = self._after_stream, None
            self._verbs.clear()
            return fetch
        while self._verbs:
            step = self._do(self._verbs.popleft())
            if step is not None:
                return step
        return Finished(Finish.NO_MORE_VERBS)

    def _do(self, verb: ET.Element) -> Step | None:
        match verb.tag:
            case "Say" | "Play":
                self._tell(verb.tag, _text(verb))
            case "Pause":
                self._tell("Pause", f"{verb.get('length', '1')} s")
            case "Connect":
                return self._connect(verb)
            case "Redirect":
                self._tell("Redirect", _text(verb))
                return Fetch(self._absolute(_text(verb)), verb.get("method", "POST"))
            case "Dial":
                return self._dial(verb)
            case "Record":
                return self._record(verb)
            case "Gather":
                return self._gather(verb)
            case "Hangup":
                self._tell("Hangup", "")
                return Finished(Finish.HUNG_UP)
            case "Reject":
                self._tell("Reject", verb.get("reason", "rejected"))
                return Finished(Finish.REJECTED, verb.get("reason", "rejected"))
            case _:
                self._tell(verb.tag, "(not simulated)")
        return None

    def _connect(self, verb: ET.Element) -> Step | None:
        stream = verb.find("Stream")
        if stream is None:
            self._fail(12200, "connect", "<Connect> without a <Stream> is not simulated")
            return self._failed
        parameters = {}
        for parameter in stream.iterfind("Parameter"):
            name, value = parameter.get("name", ""), parameter.get("value", "")
            parameters[name] = value
            if len(name) + len(value) >= MAX_PARAMETER:
                self._warn(12200, "parameter", f"<Parameter name={name!r}> is longer than {MAX_PARAMETER} characters")
        if "action" in verb.attrib:
            self._after_stream = Fetch(self._absolute(verb.attrib["action"]), verb.get("method", "POST"))
        url = self._stream_url(stream.get("url", ""))
        self._tell("Connect", url)
        callback = stream.get("statusCallback", "")
        return ConnectStream(
            url=url,
            parameters=parameters,
            name=stream.get("name", ""),
            status_callback=self._absolute(callback) if callback else "",
            status_method=stream.get("statusCallbackMethod", "POST"),
        )

    def _stream_url(self, written: str) -> str:
        parts = urlsplit(self._absolute(written))
        scheme = parts.scheme
        if "://" not in written:  # relative to the document, which came over http
            scheme = {"https": "wss", "http": "ws"}.get(scheme, scheme)
        if parts.query:
            self._warn(31920, "query_string", "Twilio drops the query string of a stream's URL; use <Parameter>")
        if scheme == "ws" and parts.hostname not in _LOCAL_HOSTS:
            self._warn(31922, "scheme", "Twilio opens wss:// only; ws:// works in a rehearsal alone")
        return urlunsplit((scheme, parts.netloc, parts.path, "", ""))

    def _dial(self, verb: ET.Element) -> Step | None:
        numbers = [text for text in (_own_text(verb), *(_text(noun) for noun in verb)) if text]
        status = self._world.dial_status
        self._tell("Dial", f"{', '.join(numbers)} ({status})")
        if status == "completed":
            self.transferred = True
        if "action" not in verb.attrib:
            return None
        outcome = {"DialCallStatus": status, "DialCallSid": self._new_sid("CA")}
        if status == "completed":
            outcome["DialCallDuration"] = "1"
        return Fetch(self._absolute(verb.attrib["action"]), verb.get("method", "POST"), outcome)

    def _record(self, verb: ET.Element) -> Step | None:
        longest = verb.get("maxLength", "3600")
        seconds = min(self._world.recorded_seconds, int(longest)) if longest.isdecimal() else 0
        self._tell("Record", f"{seconds} s")
        if seconds <= 0:
            return None  # nothing but silence: Twilio goes on with the next verb
        sid = self._new_sid("RE")
        return Fetch(
            self._absolute(verb.get("action", self._url)),
            verb.get("method", "POST"),
            {
                "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/{self._account_sid}/Recordings/{sid}",
                "RecordingSid": sid,
                "RecordingDuration": str(seconds),
                "Digits": verb.get("finishOnKey", "#")[:1],
            },
        )

    def _gather(self, verb: ET.Element) -> Step | None:
        for prompt in verb:
            if prompt.tag not in _PROMPTS:
                self._fail(12200, "gather", f"<{prompt.tag}> cannot be inside <Gather>")
                return self._failed
            self._tell(prompt.tag, f"{prompt.get('length', '1')} s" if prompt.tag == "Pause" else _text(prompt))
        digits = self._pressed(verb) if "dtmf" in verb.get("input", "dtmf") else ""
        self._tell("Gather", digits or "(nothing pressed)")
        if not digits and verb.get("actionOnEmptyResult", "false") != "true":
            return None
        return Fetch(self._absolute(verb.get("action", self._url)), verb.get("method", "POST"), {"Digits": digits})

    def _pressed(self, verb: ET.Element) -> str:
        """The keys this `<Gather>` gets; it ends at its last digit, at its key, or when the caller pauses."""
        keys, comma, later = self._keys.partition(",")
        finish, most = verb.get("finishOnKey", "#"), verb.get("numDigits", "")
        digits = keys[: int(most)] if most.isdecimal() else keys
        ended = next((at for at, key in enumerate(digits) if key in finish), None)
        if ended is not None:
            digits, rest = digits[:ended], keys[ended + 1 :]
        else:
            rest = keys[len(digits) :]
        self._keys = f"{rest}{comma}{later}" if rest else later
        return digits

    def _new_sid(self, prefix: str) -> str:
        """A SID of the usual form for something of this call; no two are the same."""
        self._sids += 1
        return f"{prefix}{self._sids:02x}{self._call_sid[4:]}"

    def _absolute(self, url: str) -> str:
        return urljoin(self._url, url.strip())

    def _tell(self, verb: str, text: str) -> None:
        self._trace.append(Experienced(verb.lower(), text))

    def _warn(self, code: int, reason: str, detail: str) -> None:
        self._warnings.append(CarrierWarning(code, reason, detail))

    def _fail(self, code: int, reason: str, detail: str) -> None:
        self._warn(code, reason, detail)
        self._tell("Say", APOLOGY)
        self._failed = Finished(Finish.ERROR, f"{code} {reason}")


_VERBS = frozenset({"Say", "Play", "Pause", "Connect", "Redirect", "Dial", "Record", "Gather", "Hangup", "Reject"})
_PROMPTS = frozenset({"Say", "Play", "Pause"})
_NOT_SIMULATED = frozenset({"Start", "Stop", "Enqueue", "Leave", "Pay", "Prompt", "Queue", "Refer", "Sms", "Echo"})
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def _text(element: ET.Element) -> str:
    """All text inside, SSML's included, with white space made single."""
    return " ".join("".join(element.itertext()).split())


def _own_text(element: ET.Element) -> str:
    return (element.text or "").strip()
