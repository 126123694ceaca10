"""The official ways to write to somebody: Meta's Cloud API, and Twilio for WhatsApp and SMS; a request a message.

Neither takes an id of ours, so the same message sent twice would arrive twice: what was given to the carrier and not
answered is `outcome_unknown`, and a person decides. Only what certainly did not arrive is tried again. What comes in,
comes to webhooks (`official_webhooks`), so `run` has nothing to do.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2
import msgspec

from moked.channels import (
    CLOUD,
    TWILIO_WHATSAPP,
    Address,
    ChannelCaps,
    ChannelHealth,
    Link,
    MessageState,
    Outbound,
    SendResult,
    Sink,
)
from moked.channels.carrier_codes import failure
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

GRAPH: Final = "https://graph.facebook.com/v25.0"
TWILIO: Final = "https://api.twilio.com"
UNKNOWN: Final = "outcome_unknown"
DAY_S: Final = 24 * 3600
_TIMEOUT: Final = httpx2.Timeout(15.0, connect=5.0)
_UPLOAD_S: Final = 8.0
_OPUS: Final = "audio/ogg; codecs=opus"
_LARGEST: Final = 16 * 1024 * 1024
_LATER: Final = frozenset({429, 4, 80007, 130429, 131048, 131056, 20429})  # too fast: later


class _Rest:
    """What both have in common. `_request` makes the POST of a message, `_told` reads its answer."""

    kind = ""
    caps = ChannelCaps()

    def __init__(self, account: str, **client: Any) -> None:
        self._account = account
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False, **client)
        self._error = ""

    async def run(self, sink: Sink) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self._client.aclose()

    async def typing(self, to: Address, on: bool) -> None:
        """Neither shows it for a business that has not been asked."""

    async def read(self, to: Address, provider_ids: tuple[str, ...]) -> bool:
        """Twilio has no way to say so."""
        return True

    def health(self) -> ChannelHealth:
        return ChannelHealth(Link.FAILED if self._error else Link.OPEN, self._error, account=self._account)

    async def send(self, out: Outbound) -> SendResult:
        return await self._given(self._request(out))

    async def _given(self, request: httpx2.Request) -> SendResult:
        try:
            answer = await self._client.send(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):  # nothing was said yet
            return SendResult(MessageState.QUEUED, error="unreachable")
        except httpx2.HTTPError:
            return SendResult(MessageState.FAILED, error=UNKNOWN)
        body = _json(answer.content)
        if answer.status_code < 300:
            self._error = ""
            return SendResult(MessageState.SENT, self._id(body))
        code = self._code(body)
        if answer.status_code in (401, 403) or code in (190, 20003):
            self._error = "unauthorized"
            return SendResult(MessageState.QUEUED, error="unauthorized")
        if answer.status_code in (429, 503) or code in _LATER:
            return SendResult(MessageState.QUEUED, error="too_fast")
        if answer.status_code >= 500:
            return SendResult(MessageState.FAILED, error=UNKNOWN)
        return SendResult(MessageState.FAILED, error=failure(code))

    def _request(self, out: Outbound) -> httpx2.Request:
        raise NotImplementedError

    def _id(self, body: Any) -> str:
        raise NotImplementedError

    def _code(self, body: Any) -> int:
        raise NotImplementedError

    async def _get(self, url: str, provider: str) -> bytes:
        """At most `_LARGEST` bytes. Raises `ProviderError`."""
        try:
            async with self._opened(url) as answer:
                if answer.status_code >= 400:
                    gone = answer.status_code in (404, 410)
                    raise ProviderError(
                        provider, Failure.PROTOCOL if gone else Failure.UNAVAILABLE, f"HTTP {answer.status_code}"
                    )
                sound = b""
                async for piece in answer.aiter_bytes():
                    sound += piece
                    if len(sound) > _LARGEST:
                        raise ProviderError(provider, Failure.PROTOCOL, "too large")
                return sound
        except httpx2.HTTPError as error:
            raise ProviderError(provider, Failure.UNAVAILABLE, type(error).__name__) from error

    @asynccontextmanager
    async def _opened(self, url: str) -> AsyncIterator[httpx2.Response]:
        answer = await self._client.send(self._client.build_request("GET", url), stream=True, follow_redirects=True)
        try:
            yield answer
        finally:
            await answer.aclose()


class CloudChannel(_Rest):
    """A number at Meta's Cloud API."""

    kind = CLOUD
    caps = ChannelCaps(
        voice_notes=True, voice_replies=True, read=True, templates=True, free_window_s=DAY_S, max_text=4096
    )

    def __init__(self, phone_id: str, token: str, *, base_url: str = "") -> None:
        super().__init__(phone_id, headers={"Authorization": f"Bearer {token}"})
        self._base = base_url or GRAPH

    async def send(self, out: Outbound) -> SendResult:
        """A voice note whose sound Meta does not take goes as its words."""
        media = await self._left(out.voice.sound) if out.voice is not None else ""
        result = await self._given(self._request(out, media))
        return replace(result, voice=bool(media))

    async def read(self, to: Address, provider_ids: tuple[str, ...]) -> bool:
        """Said of the newest, it holds for all before it."""
        said = {"messaging_product": "whatsapp", "status": "read", "message_id": provider_ids[-1]}
        try:
            answer = await self._client.post(f"{self._base}/{self._account}/messages", json=said)
        except httpx2.HTTPError:
            return False
        later = answer.status_code in (401, 403, 429) or answer.status_code >= 500
        return not later and self._code(_json(answer.content)) not in _LATER

    async def _left(self, sound: bytes) -> str:
        """The id of a sound that is left with Meta, to be sent; '' where that fails."""
        file = {"file": ("note.ogg", sound, _OPUS)}
        try:
            with anyio.fail_after(_UPLOAD_S):
                answer = await self._client.post(
                    f"{self._base}/{self._account}/media",
                    data={"messaging_product": "whatsapp", "type": _OPUS},
                    files=file,
                )
        except (httpx2.HTTPError, TimeoutError) as error:
            log.warning("Meta did not take a voice note; its words go", extra={"error": type(error).__name__})
            return ""
        match _json(answer.content):
            case {"id": str(found)} if answer.status_code < 300:
                return found
            case body:
                log.warning("Meta did not take a voice note; its words go", extra={"error": str(self._code(body))})
                return ""

    def _request(self, out: Outbound, media: str = "") -> httpx2.Request:
        body: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": out.to.value.removeprefix("+"),
        }
        if media:
            body |= {"type": "audio", "audio": {"id": media, "voice": True}}
        elif out.template is not None:
            values = [{"type": "text", "text": value} for value in out.template.values]
            body |= {
                "type": "template",
                "template": {
                    "name": out.template.name,
                    "language": {"code": out.template.language},
                    "components": [{"type": "body", "parameters": values}] if values else [],
                },
            }
        else:
            body |= {"type": "text", "text": {"body": out.text, "preview_url": False}}
        return self._client.build_request("POST", f"{self._base}/{self._account}/messages", json=body)

    def _id(self, body: Any) -> str:
        match body:
            case {"messages": [{"id": str(found)}, *_]}:
                return found
        return ""

    def _code(self, body: Any) -> int:
        match body:
            case {"error": {"code": int(code)}}:
                return code
        return 0

    async def fetch(self, raw: str) -> bytes:
        """`raw` is the media's id; where it lies is asked for first."""
        match _json(await self._get(f"{self._base}/{raw}", CLOUD)):
            case {"url": str(url)}:
                return await self._get(url, CLOUD)
        raise ProviderError(CLOUD, Failure.PROTOCOL, "no address of the media")


class TwilioChannel(_Rest):
    """A number of ours at Twilio: for WhatsApp, or for SMS. `callback`: where it reports how far a message came."""

    def __init__(
        self,
        kind: str,
        number: str,
        account_sid: str,
        token: str,
        *,
        base_url: str = "",
        callback: str = "",
    ) -> None:
        super().__init__(number, auth=(account_sid, token))
        self.kind = kind
        self.caps = twilio_caps(kind)
        self._prefix = "whatsapp:" if kind == TWILIO_WHATSAPP else ""
        self._base = (base_url or TWILIO).rstrip("/")
        self._url = f"{self._base}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._callback = callback

    def _request(self, out: Outbound) -> httpx2.Request:
        fields = {"From": self._prefix + self._account, "To": self._prefix + out.to.value}
        if self._callback:
            fields["StatusCallback"] = self._callback
        if out.template is not None:
            values = {str(number): value for number, value in enumerate(out.template.values, 1)}
            fields |= {"ContentSid": out.template.name, "ContentVariables": msgspec.json.encode(values).decode()}
        else:
            fields["Body"] = out.text
        return self._client.build_request("POST", self._url, data=fields)

    def _id(self, body: Any) -> str:
        return str(body.get("sid", "")) if isinstance(body, dict) else ""

    def _code(self, body: Any) -> int:
        code = body.get("code", 0) if isinstance(body, dict) else 0
        return code if isinstance(code, int) else 0

    async def fetch(self, raw: str) -> bytes:
        """`raw` is an address of Twilio's; our credentials go nowhere else."""
        if urlsplit(raw).netloc != urlsplit(self._base).netloc:
            raise ProviderError(self.kind, Failure.PROTOCOL, "not an address of Twilio's")
        return await self._get(raw, self.kind)


def twilio_caps(kind: str) -> ChannelCaps:
    """Of Twilio's two channels."""
    whatsapp = kind == TWILIO_WHATSAPP
    window = DAY_S if whatsapp else None
    return ChannelCaps(voice_notes=whatsapp, templates=whatsapp, free_window_s=window, max_text=1600)


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None
