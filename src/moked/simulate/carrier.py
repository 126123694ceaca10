"""The carrier over HTTP: webhooks, callbacks and requests signed as Twilio signs them, and where the server is reached.

A server signs and writes URLs with its public address; a rehearsal reaches it by a local one. Signatures are always
made over the public URL, connections go to the reachable one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import anyio
import httpx2

from moked.simulate.scenario import Manners
from moked.simulate.twiml import ConnectStream, World
from moked.simulate.wire import CarrierWarning
from moked.telephony import sign

WEBHOOK_TIMEOUT_S: Final = 15
"""Twilio gives a webhook fifteen seconds."""

LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
HTTP_RETRIEVAL_FAILURE: Final = 11200
_STREAM_SCHEMES: Final = {"http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSetup:
    """Where to call, as whom, and for how long.

    `base_url` is where the server is reached; `public_base_url` is the address it knows itself by (the same if empty).
    `simulated`: tell the server that this is a rehearsal, in a form field that Twilio does not have; it is signed too.
    `direction`: 'outbound-api' for a call that the server placed; `caller` is its number then. An empty `auth_token`
    signs nothing; an empty `status_path` means that the number has no status callback. `events`:
    subscribe to the call's live events. `report_s`: how long to wait for the server's final report, 0 for not at all.
    """

    base_url: str
    public_base_url: str = ""
    auth_token: str = ""
    account_sid: str = "AC" + "0" * 32
    caller: str = "+972501234567"
    called: str = "+97230000000"
    simulated: bool = True
    direction: str = "inbound"
    webhook_path: str = "/webhook/incoming_call"
    status_path: str = "/webhook/call_status"
    max_s: float = 300
    events: bool = True
    report_s: float = 10
    manners: Manners = field(default_factory=Manners)
    world: World = field(default_factory=World)


def new_client(base_url: str) -> httpx2.AsyncClient:
    """An HTTP client for any number of simulated calls; proxies of the environment are for other machines only."""
    return httpx2.AsyncClient(
        timeout=WEBHOOK_TIMEOUT_S,
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
        trust_env=urlsplit(base_url).hostname not in LOCAL_HOSTS,
        headers={"User-Agent": "moked-call"},
    )


class Carrier:
    """The carrier's HTTP side of one call."""

    def __init__(self, call_sid: str, setup: CallSetup, http: httpx2.AsyncClient) -> None:
        self._sid = call_sid
        self._setup = setup
        self._base = setup.base_url.rstrip("/")
        self._public = (setup.public_base_url or setup.base_url).rstrip("/")
        self.http = http
        self.warnings: list[CarrierWarning] = []

    def url(self, path: str) -> str:
        """The server's public URL of `path`."""
        return self._public + path

    def reachable(self, url: str) -> str:
        """The same resource through `base_url`, if it is one of the server's own."""
        base, public, parts = urlsplit(self._base), urlsplit(self._public), urlsplit(urljoin(self._public + "/", url))
        if parts.netloc != public.netloc:
            return url
        scheme = _STREAM_SCHEMES[base.scheme] if parts.scheme in ("ws", "wss") else base.scheme
        return urlunsplit((scheme, base.netloc, base.path + parts.path.removeprefix(public.path), parts.query, ""))

    def signature(self, url: str, params: Mapping[str, str] | None = None) -> dict[str, str]:
        """The header for a request to the public `url`; nothing when there is no token."""
        if not self._setup.auth_token:
            return {}
        return {"X-Twilio-Signature": sign(self._setup.auth_token, url, params or {})}

    async def request(
        self, method: str, url: str, params: Mapping[str, str], *, status: str = "in-progress"
    ) -> httpx2.Response:
        """Ask for TwiML: the call's usual parameters and `params`. Raises httpx2's errors."""
        return await self._send(method, url, {**self._form(status), **params})

    async def stream_callback(self, stream: ConnectStream, stream_sid: str, event: str, error: str) -> None:
        """`event`: stream-started, stream-stopped or stream-error."""
        params = {
            "AccountSid": self._setup.account_sid,
            "CallSid": self._sid,
            "StreamSid": stream_sid,
            "StreamName": stream.name or stream_sid,
            "StreamEvent": event,
            "Timestamp": datetime.now(UTC).isoformat(),
        }
        if error:
            params["StreamError"] = error
        await self._notify(stream.status_method, stream.status_callback, params)

    async def call_completed(self, seconds: int) -> None:
        """The number's status callback, which by default comes for 'completed' alone."""
        if not self._setup.status_path:
            return
        params = {
            **self._form("completed"),
            "CallDuration": str(seconds),
            "Duration": str(-(-seconds // 60)),  # billed minutes
            "CallbackSource": "call-progress-events",
            "SequenceNumber": "0",
            "Timestamp": format_datetime(datetime.now(UTC)),
        }
        await self._notify("POST", self.url(self._setup.status_path), params)

    async def report(self) -> Mapping[str, Any] | None:
        """The server's report once it is final; the last one seen when time is up; None if there was none."""
        url = self.url(f"/api/calls/{self._sid}")
        report: Mapping[str, Any] | None = None
        with anyio.move_on_after(self._setup.report_s):
            while True:
                try:
                    answer = await self.http.get(self.reachable(url), headers=self.signature(url))
                    if answer.status_code == httpx2.codes.OK:
                        report = answer.json()
                except (httpx2.RequestError, ValueError):
                    pass  # it is gone, or is no JSON: it may come back until time is up
                if report is not None and report.get("ended"):
                    break
                await anyio.sleep(0.2)
        return report

    async def _notify(self, method: str, url: str, params: Mapping[str, str]) -> None:
        """A callback, whose answer changes nothing."""
        try:
            status = (await self._send(method, url, params)).status_code
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            self.warnings.append(CarrierWarning(HTTP_RETRIEVAL_FAILURE, "callback", f"{url}: {error!r}"))
            return
        if status >= 400:
            self.warnings.append(CarrierWarning(HTTP_RETRIEVAL_FAILURE, "callback", f"{url} answered {status}"))

    async def _send(self, method: str, url: str, params: Mapping[str, str]) -> httpx2.Response:
        if method.upper() == "GET":  # the parameters are part of the URL, and so of what is signed
            url = str(httpx2.URL(url).copy_merge_params(dict(params)))
            return await self.http.get(self.reachable(url), headers=self.signature(url))
        return await self.http.post(self.reachable(url), data=dict(params), headers=self.signature(url, params))

    def _form(self, status: str) -> dict[str, str]:
        setup = self._setup
        return {
            **({"MokedSimulated": "true"} if setup.simulated else {}),
            "CallSid": self._sid,
            "AccountSid": setup.account_sid,
            "From": setup.caller,
            "To": setup.called,
            "Caller": setup.caller,
            "Called": setup.called,
            "CallStatus": status,
            "Direction": setup.direction,
            "ApiVersion": "2010-04-01",
            "FromCountry": "IL",
            "ToCountry": "IL",
        }
