"""WhatsApp as a linked device: the bridge program is started, watched and told what to do.

    orders (a person's, in the database) -> lease -> bridge process -> connect -> open
                                              |            |             '-- closed(code) -> disconnects.judge
                                              |            '-- died: started again, with back-off
                                              '-- lost: the bridge is ended at once, another process has the account

Nothing here waits for the rest of the house, nor the rest for it.
"""

import base64
import logging
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from subprocess import DEVNULL
from typing import Any, Final, Protocol

import anyio
from anyio import to_thread

from moked.channels import (
    BAILEYS,
    LID,
    NOT_CONNECTED,
    PHONE,
    Address,
    ChannelCaps,
    ChannelHealth,
    Inbound,
    Kind,
    Link,
    MessageState,
    Outbound,
    Report,
    SendResult,
    Sink,
)
from moked.channels.bridge_link import BridgeLink, LinkLost, Refused
from moked.channels.disconnects import BRIDGE_DIED, Versions, judge, parse_version
from moked.channels.orders import NotOurs, Orders
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

LEASE_S: Final = 15.0
_RENEW_S: Final = 4.0
_LOOK_S: Final = 1.0
_HELD_S: Final = 60.0  # a connection that lasted so long was a good one
_STOP_S: Final = 4.0
_LIGHTLY_S: Final = 5.0
_ALOUD_S: Final = 17.0  # to leave a sound with WhatsApp's media server and send it: longer than the bridge waits for it
_PN: Final = "@s.whatsapp.net"
_LID: Final = "@lid"


class Store(Protocol):
    """`crm.whatsapp_store`; every method is one transaction, called in a thread."""

    def orders(self) -> Orders: ...

    def take_lease(self, owner: str, seconds: float) -> bool: ...

    def drop_lease(self, owner: str) -> None: ...

    def auth_get(self, category: str, ids: Sequence[str]) -> dict[str, str]: ...

    def auth_set(self, owner: str, rows: Mapping[str, Mapping[str, str | None]]) -> None:
        """All or nothing. Raises `NotOurs`."""

    def forget(self, owner: str) -> None: ...

    def tell(self, health: ChannelHealth, *, version: str = "", count: str = "") -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """How the bridge is run. `url`, `keep_alive_ms`, `media_hosts` and `pace` (times back-offs) are for tests."""

    command: Sequence[str]
    version: str = ""
    url: str = ""
    keep_alive_ms: int = 0
    media_hosts: tuple[str, ...] = ()
    pace: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)


class BaileysChannel:
    """See `channels.Channel`."""

    kind = BAILEYS
    caps = ChannelCaps(
        voice_notes=True,
        voice_replies=True,
        typing=True,
        read=True,
        cold_ok=False,
        idempotent=True,
        max_text=4096,
        spacing_s=1.2,
    )

    def __init__(self, bridge: Bridge, store: Store) -> None:
        self._bridge = bridge
        self._store = store
        self._owner = secrets.token_hex(8)
        self._link: BridgeLink | None = None
        self._health = ChannelHealth(Link.OFF)
        self._sink: Sink | None = None
        self._versions = Versions()
        self._version: tuple[int, ...] | None = None
        self._failures = 0
        self._opened_at: float | None = None
        self._closed = anyio.Event()
        self._closed_code = BRIDGE_DIED
        self._paired = False

    def health(self) -> ChannelHealth:
        return self._health

    # ---- the account

    async def run(self, sink: Sink) -> None:
        self._sink = sink
        while True:
            orders = await self._db(self._store.orders)
            if not orders.wanted and not orders.forget:
                if self._health.state is not Link.WAITING:
                    await self._tell(Link.OFF)
            elif not await self._db(self._store.take_lease, self._owner, LEASE_S):
                self._health = ChannelHealth(Link.WAITING, "other_process")  # the account's row is the owner's to write
            else:
                try:
                    await self._serve(orders)
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._db(self._store.drop_lease, self._owner)
                    self._link = None
                continue
            await anyio.sleep(_LOOK_S)

    async def _serve(self, orders: Orders) -> None:
        """Until the orders change or the lease is lost."""
        self._failures, self._versions = 0, Versions(parse_version(self._bridge.version), parse_version(orders.version))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, orders, tasks.cancel_scope)
            while True:
                begun = time.monotonic()
                try:
                    await self._one_bridge(orders)
                except (OSError, LinkLost) as error:
                    log.warning("the WhatsApp bridge ended", extra={"error": str(error)})
                if orders.forget:
                    tasks.cancel_scope.cancel()
                    return
                if time.monotonic() - begun > _HELD_S:
                    self._failures = 0
                if not await self._after(BRIDGE_DIED):
                    await anyio.sleep_forever()

    async def _watch(self, orders: Orders, scope: anyio.CancelScope) -> None:
        renewed = time.monotonic()
        while True:
            await anyio.sleep(_LOOK_S)
            now = await self._db(self._store.orders)
            if (now.wanted, now.forget, now.turn) != (orders.wanted, orders.forget, orders.turn):
                scope.cancel()
            if time.monotonic() - renewed > _RENEW_S:
                if not await self._db(self._store.take_lease, self._owner, LEASE_S):
                    log.error("another process has taken the WhatsApp account")
                    scope.cancel()
                renewed = time.monotonic()

    async def _one_bridge(self, orders: Orders) -> None:
        """Start the program and conduct it until it ends. Raises `OSError`, `LinkLost`."""
        token = secrets.token_urlsafe(32)
        link = BridgeLink(token, serve=self._keys, hear=self._heard)
        async with link.listening():
            address = {"BRIDGE_URL": f"ws://127.0.0.1:{link.port}/", "BRIDGE_TOKEN": token}
            process = await anyio.open_process(
                self._bridge.command,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
                env={**self._bridge.environment, **address},
                start_new_session=True,
            )
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._conduct, link, orders, process)
                    code = await process.wait()
                    log.warning("the WhatsApp bridge has ended", extra={"status": code})
                    tasks.cancel_scope.cancel()
            finally:
                self._link = None
                with anyio.CancelScope(shield=True):
                    await _end(process)

    async def _conduct(self, link: BridgeLink, orders: Orders, process: anyio.abc.Process) -> None:
        with anyio.fail_after(20):
            await link.connected.wait()
        self._link = link
        if orders.forget:
            await self._unlink(link)
            process.terminate()
            return
        while True:
            await self._connect(link, orders)
            await self._closed.wait()
            if self._opened_at is not None and time.monotonic() - self._opened_at > _HELD_S:
                self._failures = 0
            if not await self._after(self._closed_code):
                await anyio.sleep_forever()

    async def _connect(self, link: BridgeLink, orders: Orders) -> None:
        self._version = self._versions.choose(await self._newest(link))
        self._opened_at, self._closed = None, anyio.Event()
        await self._tell(Link.CONNECTING)
        params: dict[str, Any] = {
            "version": self._version,
            "url": self._bridge.url or None,
            "pair_phone": orders.pair_phone.lstrip("+") or None,
            "keep_alive_ms": self._bridge.keep_alive_ms or None,
            "media_hosts": list(self._bridge.media_hosts),
        }
        await link.ask("connect", params)

    async def _newest(self, link: BridgeLink) -> tuple[int, ...] | None:
        """What WhatsApp itself serves to browsers; asked for only after a version was refused."""
        if not self._versions.refused or self._versions.own is not None:
            return None
        try:
            found, _ = await link.ask("latest_version", {}, within_s=15)
        except (Refused, LinkLost):
            return None
        return tuple(found["version"]) if found.get("version") else None

    async def _unlink(self, link: BridgeLink) -> None:
        """Log out where that is possible; the keys are deleted anyway."""
        if await self._db(self._store.auth_get, "creds", ["creds"]):
            await self._connect(link, Orders(wanted=True))
            with anyio.move_on_after(10):
                while self._health.state is not Link.OPEN and not self._closed.is_set():
                    await anyio.sleep(0.05)
                await link.ask("logout", {})
        await self._db(self._store.forget, self._owner)

    async def _after(self, code: int) -> bool:
        """Wait as the table says; False where a person must act."""
        self._failures += 1
        verdict = judge(code, paired=self._paired, failures=self._failures, chance=random.random())
        if verdict.next_version:
            self._versions = self._versions.refuse(self._version)
        await self._tell(verdict.link, verdict.error, count="disconnects" if verdict.error else "")
        if verdict.alarm:
            log.error("WhatsApp needs a person", extra={"state": verdict.link.value, "error": verdict.error})
        if verdict.wait_ms is None:
            return False
        await anyio.sleep(verdict.wait_ms / 1000 * self._bridge.pace)
        return True

    # ---- what the bridge says

    async def _keys(self, method: str, params: dict[str, Any]) -> Any:
        match method, params:
            case "auth.get", {"category": str(category), "ids": list(ids)}:
                return await self._db(self._store.auth_get, category, ids)
            case "auth.set", {"rows": dict(rows)}:
                try:
                    await self._db(self._store.auth_set, self._owner, rows)
                except NotOurs:
                    raise Refused("not_owner", "another process has the account") from None
                return {}
        raise Refused("unknown_method", "no such method")

    async def _heard(self, event: str, data: dict[str, Any]) -> None:
        assert self._sink is not None
        match event:
            case "state":
                await self._state(data)
            case "message":
                await self._sink(_inbound(data, self._health.account))
            case "report":
                told, error = MessageState(data["state"]), str(data.get("error", ""))
                if told is MessageState.FAILED:
                    await self._tell(self._health.state, self._health.error, count=_failure(error))
                await self._sink(Report(BAILEYS, str(data["id"]), told, _failure(error) if error else ""))
            case _:
                log.debug("the bridge tells more than is known", extra={"event": event})

    async def _state(self, data: dict[str, Any]) -> None:
        match data:
            case {"state": "pairing"}:
                health = ChannelHealth(Link.PAIRING, qr=str(data.get("qr", "")), code=str(data.get("code", "")))
                await self._publish(health)
            case {"state": "open"}:
                self._opened_at, self._paired = time.monotonic(), True
                account = str(data.get("account", "")).partition("@")[0].partition(":")[0]
                said = ".".join(map(str, self._version)) if self._version else ""
                await self._publish(ChannelHealth(Link.OPEN, account=account), version=said, count="connects")
            case {"state": "closed"}:
                self._closed_code, self._paired = int(data.get("code", 500)), bool(data.get("paired"))
                self._closed.set()

    # ---- messages

    async def send(self, out: Outbound) -> SendResult:
        link = self._link
        if link is None or self._health.state is not Link.OPEN:
            return SendResult(MessageState.QUEUED, error=NOT_CONNECTED)
        try:
            answer, voice = await _given(link, out)
        except LinkLost:
            return SendResult(MessageState.QUEUED, error="connection_lost")
        except Refused as refusal:
            if refusal.code == "closed":
                return SendResult(MessageState.QUEUED, error="connection_lost")
            return SendResult(MessageState.FAILED, error="refused")
        match str(answer.get("error", "")):
            case "":
                await self._tell(self._health.state, self._health.error, count="sent")
                return SendResult(MessageState.SENT, out.key, voice=voice)
            case "closed" | "timeout" as error:  # it may have arrived: the same id again is the same message
                return SendResult(MessageState.QUEUED, error=f"connection_{error}")
            case error:
                await self._tell(self._health.state, self._health.error, count=_failure(error))
                return SendResult(MessageState.FAILED, out.key, _failure(error))

    async def fetch(self, raw: str) -> bytes:
        link = self._link
        if link is None:
            raise ProviderError(BAILEYS, Failure.UNAVAILABLE, "not connected")
        try:
            _, sound = await link.ask("download", {"raw": raw}, within_s=60)
        except LinkLost as error:
            raise ProviderError(BAILEYS, Failure.UNAVAILABLE, str(error)) from error
        except Refused as refusal:
            kind = Failure.UNAVAILABLE if refusal.code == "closed" else Failure.PROTOCOL
            raise ProviderError(BAILEYS, kind, refusal.code) from refusal
        return sound

    async def typing(self, to: Address, on: bool) -> None:
        await self._ask_lightly("typing", {"jid": jid(to), "on": on})

    async def read(self, to: Address, provider_ids: tuple[str, ...]) -> bool:
        return await self._ask_lightly("read", {"jid": jid(to), "ids": list(provider_ids)})

    # ---- inside

    async def _ask_lightly(self, method: str, params: dict[str, Any]) -> bool:
        """What nobody misses. False: there is no connection for it now."""
        if self._link is None or self._health.state is not Link.OPEN:
            return False
        try:
            await self._link.ask(method, params, within_s=_LIGHTLY_S)
        except (LinkLost, Refused) as error:
            log.debug("not said to WhatsApp", extra={"what": method, "error": type(error).__name__})
            return isinstance(error, Refused) and error.code != "closed"
        return True

    async def _tell(self, state: Link, error: str = "", *, count: str = "") -> None:
        account = self._health.account if state is Link.OPEN else ""
        await self._publish(ChannelHealth(state, error, account=account), count=count)

    async def _publish(self, health: ChannelHealth, *, version: str = "", count: str = "") -> None:
        if health != self._health or version or count:
            self._health = health
            await self._db(lambda: self._store.tell(health, version=version, count=count))

    async def _db(self, work: Any, *given: Any) -> Any:
        return await to_thread.run_sync(work, *given)


async def _given(link: BridgeLink, out: Outbound) -> tuple[Any, bool]:
    """What WhatsApp answered, and whether it went as a voice note. Where the sound cannot be left with it, the words
    go, as the same message. Raises `Refused`, `LinkLost`."""
    params = {"id": out.key, "jid": jid(out.to)}
    if (note := out.voice) is not None:
        shape = base64.b64encode(note.shape).decode()
        about = params | {"seconds": max(1, round(note.ms / 1000)), "shape": shape}
        try:
            answer, _ = await link.ask("send_voice", about, note.sound, within_s=_ALOUD_S)
            return answer, True
        except Refused as refusal:
            if refusal.code == "closed":
                raise
            log.warning("WhatsApp did not take a voice note; its words go", extra={"error": refusal.code})
    answer, _ = await link.ask("send_text", params | {"text": out.text})
    return answer, False


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(_STOP_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _failure(error: str) -> str:
    """Codes of a refused message, as stable words. 463 and its kin: WhatsApp does not let us write to this person."""
    return {"463": "reachout_limited", "475": "reachout_limited", "479": "bad_address"}.get(error, f"refused_{error}")


def jid(to: Address) -> str:
    if to.scheme == LID:
        return f"{to.value}{_LID}"
    return f"{to.value.removeprefix('+')}{_PN}"


def address(jid: str) -> Address | None:
    """Of a person; None for groups and whatever else there is."""
    user, _, server = jid.partition("@")
    user = user.partition(":")[0]
    if not user.isascii() or not user.isdigit():
        return None
    match f"@{server}":
        case "@s.whatsapp.net":
            return Address(PHONE, f"+{user}")
        case "@lid":
            return Address(LID, user)
    return None


def _inbound(data: dict[str, Any], account: str) -> Inbound:
    where = address(str(data["jid"]))
    assert where is not None, "the bridge hands over direct messages alone"
    other = address(str(data.get("alt", "")))
    return Inbound(
        channel=BAILEYS,
        account=account,
        provider_id=str(data["id"]),
        address=where,
        also=(other,) if other is not None and other != where else (),
        at=datetime.fromtimestamp(int(data["at"]), UTC),
        name=str(data.get("name", "")),
        kind=Kind(data["kind"]),
        text=str(data.get("text", "")),
        raw=str(data.get("raw", "")),
    )
