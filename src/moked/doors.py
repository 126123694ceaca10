"""The doors to the media plane, by path: the carrier's, which is signed, and those of browsers, judged by their page.

Another page can open a socket to us, and the browser sends our cookies along. So cookies open nothing here: the page's
origin must be ours, and the ticket, which the desk gives to who may, must fit.
"""

from collections.abc import Awaitable, Callable, Sequence

from anyio import to_thread
from starlette.types import ASGIApp, Scope

from moked import metrics, sockets
from moked.bus import Bus
from moked.crm.live import Live
from moked.crm.tickets import TicketReason, TicketRefusal
from moked.media import orders
from moked.media.server import Admits, MediaServer, Redeem, Refusal
from moked.media.session import CallSession
from moked.media.supervision import SupervisionServer
from moked.records import FROM_BROWSER, CallStart

OurTickets = Callable[[str, str], Awaitable[CallStart | TicketRefusal]]


def doors(
    media: MediaServer | None, *, number: int, redeem: OurTickets, live: Live, ours: Callable[[], Sequence[str]]
) -> dict[str, ASGIApp]:
    """Of this process, the `number`th of several on its host. `ours`: the addresses our pages have."""
    if media is None:
        return {}
    admits = _from_our_page(ours)
    return {
        sockets.path(sockets.CARRIER, number): media,
        sockets.path(sockets.BROWSER, number): media.entrance(admits, _of_browsers(redeem)),
        sockets.path(sockets.SUPERVISE, number): SupervisionServer(
            admits=admits,
            redeem=lambda token, sid: to_thread.run_sync(live.redeem, token, sid),
            session=lambda sid: served(media, sid),
            note=lambda who, action, sid: to_thread.run_sync(live.note, who, action, sid),
            dropped=metrics.queue_drops.labels("listener").inc,
        ),
    }


async def deliver_orders(media: MediaServer, live: Live, bus: Bus) -> None:
    """What people at the desk tell the calls of this process. Runs for ever."""
    await orders.deliver(
        bus,
        lambda: media.call_sids,
        lambda sids: to_thread.run_sync(live.take_orders, sids),
        lambda sid: served(media, sid),
    )


def served(media: MediaServer, sid: str) -> CallSession | None:
    """The call, if it is served here."""
    session = media.session(sid)
    return session if isinstance(session, CallSession) else None


def _from_our_page(ours: Callable[[], Sequence[str]]) -> Admits:
    def admits(scope: Scope) -> str:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        come = sockets.may_come_from(headers.get(b"origin", ""), headers.get(b"host", ""), ours())
        return "" if come else "foreign_origin"

    return admits


def _of_browsers(redeem: OurTickets) -> Redeem:
    """The carrier's tickets are for the carrier's door."""

    async def redeemed(token: str, call_sid: str) -> CallStart | Refusal:
        found = await redeem(token, call_sid)
        if isinstance(found, CallStart) and found.direction != FROM_BROWSER:
            return TicketRefusal(TicketReason.OTHER_CALL)
        return found

    return redeemed
