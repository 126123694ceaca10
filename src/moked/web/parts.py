"""What the web plane is given by whoever starts it: values and callables, so that nothing here reads settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from moked.crm.access import Access
from moked.crm.desk import Desk
from moked.crm.edits import Edits
from moked.crm.rollouts import Rollouts
from moked.crm.service import Crm
from moked.telephony import VOICE


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def _nobody() -> None:
    """Nobody is told."""


def _nowhere(event: str, reason: str) -> None:
    """Nobody counts."""


class Setup(Protocol):
    """The one-time link of the first run; see `moked.setup_link`."""

    def fits(self, token: str) -> bool: ...

    def spend(self, token: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What the desk stands on."""

    access: Access
    desk: Desk
    edits: Edits
    setup: Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """`public_base_url`: how the carrier reaches us, 'https://host' without a slash at the end; signatures are checked
    against it. `media_ws_url`: the stream's address, 'wss://host/media/twilio'. Both are asked at every request.

    `admit` False or `max_calls` active calls: the caller hears that all lines are busy, and becomes a lead. `rest`:
    ends of calls are commanded over REST, so TwiML needs no `action`. `count(event, reason)` feeds the metrics:
    'incoming_call' admitted|overload|draining|ended, 'webhook_refused' <why>, 'webhook_failed' <endpoint>.

    `rollouts`: how calls are heard, for `/api/rollout`; `streaming_default` is ENABLE_STREAMING_STT, `streaming_means`
    whether there is something to switch, `rollout_changed` tells the other processes at once.

    `desk`: the pages people work at; None = only the carrier is answered.
    """

    crm: Crm
    business_id: int
    business_name: str
    auth_token: str
    public_base_url: Callable[[], str]
    media_ws_url: Callable[[], str]
    transfer_number: str = ""
    voice: str = VOICE
    rest: bool = False
    max_calls: int | None = None
    admit: Callable[[], bool] = _always
    draining: Callable[[], bool] = _never
    count: Callable[[str, str], None] = _nowhere
    rollouts: Rollouts | None = None
    streaming_default: bool = True
    streaming_means: bool = True
    rollout_changed: Callable[[], None] = _nobody
    desk: DeskParts | None = None
