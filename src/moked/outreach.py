"""What leaves the house: the parts of messages, follow-ups and calls that we make, and the loops that carry them out.

A process with the role of a worker runs the loops; any number may. The web plane takes clicks and webhooks, the media
plane asks what a call that we made is about.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
from sqlalchemy import Engine

from moked import parts, written
from moked.channels import Carrier, ChannelCaps
from moked.channels.email import Email
from moked.channels.policy import ChannelRules
from moked.crm.aftercall import FollowUps
from moked.crm.dialling import Dialling, Placement
from moked.crm.places import NodeReport
from moked.crm.sending import Outbox, rules_of
from moked.jobs.outbound import dial_due
from moked.jobs.sending import Speak, mute, send_due
from moked.practice import Practice
from moked.settings import Settings
from moked.telephony import CallControl
from moked.web import outbound


class Places(Protocol):
    """`crm.service.Crm`."""

    def live_nodes(self) -> list[NodeReport]: ...

    def active_calls(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Outreach:
    outbox: Outbox
    follow_ups: FollowUps
    dialling: Dialling
    channels: dict[str, Carrier]  # those that only send; by line, as `jobs.sending` takes them
    calls: bool  # calls are made at all


def build(
    engine: Engine, settings: Settings, practices: Mapping[int, Practice], base_url: Callable[[], str]
) -> Outreach:
    """`practices`: the businesses by id, the first one first; more may come."""

    def address(business_id: int) -> str:
        found = practices.get(business_id)
        return found.business.address if found is not None else ""

    def male_voice(business_id: int) -> bool:
        found = practices.get(business_id)
        return found is None or found.business.voice_gender == "male"

    return Outreach(
        Outbox(engine),
        FollowUps(
            engine,
            base_url=base_url,
            about=address,
            rules=rules(settings),
            owner_template=settings.whatsapp_owner_template,
        ),
        Dialling(
            engine,
            practices.keys(),
            default=settings.outbound_caller_id,
            male_voice=male_voice,
        ),
        channels(settings),
        bool(settings.outbound_caller_id),
    )


def rules(settings: Settings) -> dict[str, ChannelRules]:
    """What the gate knows of the channels that are connected, by family."""
    found: dict[str, ChannelCaps] = {line: channel.caps for line, channel in channels(settings).items()}
    return {name: rules_of(caps) for name, caps in (found | written.caps(settings)).items()}


def channels(settings: Settings) -> dict[str, Carrier]:
    """The channels that only send."""
    found: dict[str, Carrier] = {}
    if (server := parts.mail_server(settings)) is not None:
        found["email"] = Email(server)
    return found


async def run(
    out: Outreach,
    *,
    control: CallControl | None,
    places: Places,
    base_url: Callable[[], str],
    may: Callable[[], bool],
    conversations: dict[str, Carrier] | None = None,
    told: Callable[[int], None] = lambda business_id: None,
    speak: Speak = mute,
) -> None:
    """For ever. `conversations`: the channels people write to us by, by line; more may come. `told`: a message of this
    business changed. `speak` makes voice notes."""
    async with anyio.create_task_group() as tasks:
        lines = ChainMap({}, conversations or {}, out.channels)
        tasks.start_soon(partial(send_due, out.outbox, lines, told=told, speak=speak))
        if control is not None and out.calls:
            place = partial(_place, control, base_url)
            dial = partial(dial_due, out.dialling, place, free_places=partial(free_places, places), may=may)
            tasks.start_soon(dial)


async def _place(control: CallControl, base_url: Callable[[], str], one: Placement) -> str:
    def url(name: str) -> str:
        return outbound.url(base_url(), name, one.dial_id)

    if one.ring_first:
        return await control.place(one.ring_first, one.caller_id, answer=url("bridge"), status=url("outbound_status"))
    return await control.place(
        one.number,
        one.caller_id,
        answer=url("outbound"),
        status=url("outbound_status"),
        machine=url("outbound_amd"),
    )


def free_places(places: Places) -> int:
    """Places for calls that no call holds, at the media processes that take new ones now."""
    capacity = sum(node.capacity for node in places.live_nodes() if node.accepting and not node.draining)
    return max(0, capacity - places.active_calls())
