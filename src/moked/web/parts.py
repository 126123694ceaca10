"""What the web plane is given by whoever starts it: values and callables, so that nothing here reads settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from moked.crm.access import Access
from moked.crm.desk import Desk
from moked.crm.edits import Edits
from moked.crm.inbox import Inbox
from moked.crm.inbox_desk import InboxDesk
from moked.crm.places import NodeReport
from moked.crm.rollouts import Rollouts
from moked.crm.service import Crm
from moked.telephony import VOICE


def _no_person() -> str:
    return ""


def _not_here() -> None:
    return None


def _nobody(call_sid: str) -> str:
    return ""


def _never() -> bool:
    return False


def _no_control(call_sid: str, url: str) -> None:
    """Without REST credentials no caller waits for a person."""


def _nobody_told() -> None:
    """Nobody is told."""


def _nowhere(event: str, reason: str) -> None:
    """Nobody counts."""


def _no_message(conversation_id: int) -> None:
    """Nobody is told."""


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
    inbox: InboxDesk | None = None
    linked: bool = True  # WhatsApp is a linked device, which people link here


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageParts:
    """`cloud_phone_id` '' : Meta's webhook is not there. `kinds`: the channels of Twilio that are served."""

    inbox: Inbox
    kinds: frozenset[str] = frozenset()
    cloud_phone_id: str = ""
    cloud_secret: str = ""
    cloud_verify: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """`public_base_url`: how the carrier reaches us, 'https://host' without a slash at the end; signatures are checked
    against it. Asked at every request.

    `resume_ws_url`: the stream's address at a process that takes calls at this moment, '' if there is none; a call
    that its stream left (by CallSid) goes on there. `may_wait`: one will soon, and this process is there to be asked
    again.

    `redirect_call(call_sid, url)` lets a running call go on at `url`, by the carrier's REST interface.

    Which media process gets a call is decided on record; `here` is this process's own report, if it is one. A caller
    nobody has a place for may ask to be called back, and becomes a lead. `transfer_number` is where a call goes that
    broke; `person` the same number while somebody is there, else ''.
    `count(event, reason)` feeds the metrics: 'incoming_call' admitted|overload|draining|no_media|ended, 'resume'
    resumed|wait|ended|unknown|nobody_serves|too_many_moves, 'handover' taken|sent_back|unanswered, 'callback_request'
    this_number|other_number|person|not_a_number, 'webhook_refused' <why>, 'webhook_failed' <endpoint>.

    `rollouts`: how calls are heard, for `/api/rollout`; `streaming_default` is ENABLE_STREAMING_STT, `streaming_means`
    whether there is something to switch, `rollout_changed` tells the other processes at once.

    `desk`: the pages people work at; None = only the carrier is answered. `messages`: webhooks of written messages;
    `message_came(conversation_id)` is told what they stored.
    """

    crm: Crm
    business_id: int
    business_name: str
    auth_token: str
    public_base_url: Callable[[], str]
    resume_ws_url: Callable[[str], str] = _nobody
    may_wait: Callable[[], bool] = _never
    redirect_call: Callable[[str, str], None] = _no_control
    transfer_number: str = ""
    voice: str = VOICE
    person: Callable[[], str] = _no_person
    here: Callable[[], NodeReport | None] = _not_here
    count: Callable[[str, str], None] = _nowhere
    rollouts: Rollouts | None = None
    streaming_default: bool = True
    streaming_means: bool = True
    rollout_changed: Callable[[], None] = _nobody_told
    desk: DeskParts | None = None
    messages: MessageParts | None = None
    message_came: Callable[[int], None] = _no_message
