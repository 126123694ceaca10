"""What the web plane is given by whoever starts it: values and callables, so that nothing here reads settings."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from moked.crm.access import Access
from moked.crm.agent_versions import AgentVersions
from moked.crm.analytics import Analytics
from moked.crm.costs import Prices
from moked.crm.desk import Desk
from moked.crm.dialling import Dialling
from moked.crm.edits import Edits
from moked.crm.erasure import Erasure
from moked.crm.hooks import Hooks
from moked.crm.inbox import Inbox
from moked.crm.inbox_desk import InboxDesk
from moked.crm.job_store import JobStore
from moked.crm.keys import Keys
from moked.crm.listing import Listing
from moked.crm.live import Live
from moked.crm.outreach import Outreach
from moked.crm.places import NodeReport
from moked.crm.privacy_desk import PrivacyDesk
from moked.crm.recordings_port import RecordingSource
from moked.crm.rehearsals import Rehearsals
from moked.crm.retention import Retention
from moked.crm.rollouts import Rollouts
from moked.crm.service import Crm
from moked.dialog import AgentFactory
from moked.dialog.published import AgentPlan
from moked.rollout.guard import Limits
from moked.telephony import VOICE


def _no_person() -> str:
    return ""


def _not_here() -> None:
    return None


def _no_other(called: str) -> None:
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


@dataclass(frozen=True, slots=True)
class Office:
    """The business whose number was called, as the carrier's webhooks need it. `person` is its `transfer_number` while
    somebody is there, else ''."""

    business_id: int
    transfer_number: str
    person: Callable[[], str]


def _no_hang_up(call_sid: str) -> None:
    """Without REST credentials no call is placed, so none is to be hung up."""


def _no_message(conversation_id: int) -> None:
    """Nobody is told."""


class Setup(Protocol):
    """The one-time link of the first run; see `moked.setup_link`."""

    def fits(self, token: str) -> bool: ...

    def spend(self, token: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParts:
    """What its own pages need of the agent.

    `make(plan)` gives an agent's factory for a rehearsal, for as long as it is entered, on whatever loop. `published`
    tells the processes that take calls. `speak` gives mu-law audio of a text (it may raise `ProviderError`); None where
    this process has no voice. `name`: 'script' or 'llm', whichever talks.
    """

    versions: AgentVersions
    rehearsals: Rehearsals
    make: Callable[[AgentPlan], AbstractAsyncContextManager[AgentFactory]]
    published: Callable[[], None] = _nobody_told
    speak: Callable[[str], bytes] | None = None
    name: str = "script"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyParts:
    """What the privacy pages stand on; `recordings` is where players get the sound. `greeting` of a business, and
    whether a woman's voice says it."""

    desk: PrivacyDesk
    erasure: Erasure
    retention: Retention
    recordings: RecordingSource
    greeting: Callable[[int], tuple[str, bool]] = lambda business_id: ("", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What the desk stands on. `agent`: its settings have pages; `analytics`: the figures have one, with costs by
    `prices`; `recordings`: where calls' audio is, if anywhere.
    """

    access: Access
    desk: Desk
    edits: Edits
    live: Live
    jobs: JobStore
    outreach: Outreach
    setup: Setup
    agent: AgentParts | None = None
    analytics: Analytics | None = None
    prices: Prices = field(default_factory=Prices)
    recordings: RecordingSource | None = None
    privacy: PrivacyParts | None = None
    inbox: InboxDesk | None = None
    linked: bool = True  # WhatsApp is a linked device, which people link here


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """What the API for programs stands on. `rollouts(business_id)`: None where how calls are heard
    is not for this business to say; `base_url`: how people reach the desk; the others as in `WebParts` and
    `DeskParts`."""

    keys: Keys
    hooks: Hooks
    access: Access
    desk: Listing
    edits: Edits
    outreach: Outreach
    base_url: Callable[[], str]
    rollouts: Callable[[int], Rollouts | None]
    streaming_default: bool = True
    streaming_means: bool = True
    rollout_changed: Callable[[], None] = _nobody_told
    a_minute: int = 600


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

    `redirect_call(call_sid, url)` lets a running call go on at `url`, by the carrier's REST interface; `hang_up_call`
    ends it. `dialling`: the calls that we make; None = none are made.

    `office_of(called)`: where the number that was called is another business's than the first one's; else None.

    Which media process gets a call is decided on record; `here` is this process's own report, if it is one. A caller
    nobody has a place for may ask to be called back, and becomes a lead. `transfer_number` is where a call goes that
    broke; `person` the same number while somebody is there, else ''.
    `count(event, reason)` feeds the metrics: 'incoming_call' and 'browser_call'
    admitted|overload|draining|no_media|ended, 'resume' resumed|wait|ended|unknown|nobody_serves|too_many_moves,
    'handover' taken|sent_back|unanswered, 'callback_request' this_number|other_number|person|not_a_number, 'outbound'
    admitted|unknown|<refusal>, 'outbound_amd' machine|human|unknown, 'webhook_refused' <why>, 'webhook_failed'
    <endpoint>.

    `rollouts`: how calls are heard, for `/api/rollout`; `streaming_default` is ENABLE_STREAMING_STT, `streaming_means`
    whether there is something to switch, `rollout_changed` tells the other processes at once, `guard` are the limits at
    which streaming is taken back.

    `ordered` tells the media processes that somebody has given a call an order; `follows_instructions`: the agent
    understands what people write to it, else it says that.

    `desk`: the pages people work at; None = only the carrier is answered. `api`: the same for programs.
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
    transfer_number: Callable[[], str] = _no_person
    hang_up_call: Callable[[str], None] = _no_hang_up
    dialling: Dialling | None = None
    voice: str = VOICE
    person: Callable[[], str] = _no_person
    here: Callable[[], NodeReport | None] = _not_here
    count: Callable[[str, str], None] = _nowhere
    rollouts: Rollouts | None = None
    streaming_default: bool = True
    streaming_means: bool = True
    rollout_changed: Callable[[], None] = _nobody_told
    guard: Limits | None = None
    office_of: Callable[[str], Office | None] = _no_other
    ordered: Callable[[], None] = _nobody_told
    follows_instructions: bool = False
    desk: DeskParts | None = None
    api: ApiParts | None = None
    messages: MessageParts | None = None
    message_came: Callable[[int], None] = _no_message

    def office(self, called: str) -> Office:
        """Whose number was called."""
        return self.office_of(called) or Office(self.business_id, self.transfer_number(), self.person)
