"""Webhooks: where events go, what became of each delivery, and sending again."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from moked.crm.audit import Actor
from moked.crm.events import EVENTS
from moked.crm.hooks import Unusable
from moked.crm.permissions import Permission
from moked.crm.tables_api import DeliveryState
from moked.crm.versions import version
from moked.web.api import cursors
from moked.web.api.layer import Answer, Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import In, Moment, Out, Page, PageQuery
from moked.web.parts import ApiParts

Event = Literal[
    "call.ended", "call.updated", "lead.created", "lead.updated", "task.created", "task.updated", "contact.updated"
]
assert set(Event.__args__) == set(EVENTS)  # type: ignore[attr-defined]


class EndpointIn(In):
    url: str = Field(description="https, out there", min_length=1, max_length=2000)
    name: str = Field(min_length=1, max_length=100)
    events: list[Event] = Field(min_length=1, max_length=20)


class EndpointEdit(In):
    """Only what is given changes. Switched on again, it begins afresh."""

    url: str | None = Field(None, min_length=1, max_length=2000)
    name: str | None = Field(None, min_length=1, max_length=100)
    events: list[Event] | None = Field(None, min_length=1, max_length=20)
    active: bool | None = None


class EndpointOut(Out):
    id: int
    url: str
    name: str
    events: list[str]
    active: bool
    failing_since: Moment | None = Field(description="Nothing has arrived since then")
    disabled_why: str = Field(description="Why we switched it off: `failing` for three days, `gone` (410); else empty")
    created_at: Moment
    updated_at: Moment


class EndpointList(BaseModel):
    items: list[EndpointOut]


class Secret(BaseModel):
    secret: str = Field(description="As Standard Webhooks libraries take it, `whsec_...`")


class DeliveryOut(Out):
    id: int
    event_id: str = Field(description="The header `webhook-id`: the same again means it was sent again")
    type: str
    state: DeliveryState
    attempts: int
    due_at: Moment
    created_at: Moment
    delivered_at: Moment | None
    payload: dict[str, Any]
    log: list[Any] = Field(description="The last attempts: when, status, how long, and the beginning of the answer")


class Replayed(BaseModel):
    count: int


def add(api: Api, parts: ApiParts) -> None:
    """`/webhooks...`."""
    hooks, needs = parts.hooks, Permission.INTEGRATIONS

    def found(by: Actor, endpoint_id: int, location: str = "") -> Answer:
        endpoint = hooks.endpoint(by.business_id, endpoint_id)
        return Answer(EndpointOut.model_validate(endpoint), version(endpoint), location)

    @api.on("GET", "/webhooks", needs=needs, gives=EndpointList)
    def list_webhooks(by: Actor) -> EndpointList:
        """Where events are sent."""
        return EndpointList(items=[EndpointOut.model_validate(one) for one in hooks.endpoints(by.business_id)])

    @api.on("POST", "/webhooks", needs=needs, body=EndpointIn, gives=EndpointOut, status=201, problems=("conflict",))
    def add_webhook(by: Actor, body: EndpointIn) -> Answer:
        """Send events to another address."""
        try:
            made = hooks.add(by, body.url, body.name, body.events)
        except Unusable as refusal:
            raise _wrong(refusal) from None
        return found(by, made.id, f"/webhooks/{made.id}")

    @api.on("GET", "/webhooks/<int:endpoint_id>", needs=needs, gives=EndpointOut, versioned=True)
    def get_webhook(by: Actor, endpoint_id: int) -> Answer:
        """One address that events are sent to."""
        return found(by, endpoint_id)

    @api.on("PATCH", "/webhooks/<int:endpoint_id>", needs=needs, body=EndpointEdit, gives=EndpointOut, versioned=True)
    def edit_webhook(by: Actor, endpoint_id: int, body: EndpointEdit) -> Answer:
        """Change where events go, which ones, or whether."""
        try:
            hooks.change(by, endpoint_id, **body.model_dump(exclude_none=True))
        except Unusable as refusal:
            raise _wrong(refusal) from None
        return found(by, endpoint_id)

    @api.on("DELETE", "/webhooks/<int:endpoint_id>", needs=needs, gives=None)
    def remove_webhook(by: Actor, endpoint_id: int) -> None:
        """Send nothing there any more, and forget what was sent."""
        hooks.remove(by, endpoint_id)

    @api.on("GET", "/webhooks/<int:endpoint_id>/secret", needs=needs, gives=Secret)
    def get_webhook_secret(by: Actor, endpoint_id: int) -> Secret:
        """What the events of this address are signed with."""
        return Secret(secret=hooks.secret(by.business_id, endpoint_id))

    @api.on("POST", "/webhooks/<int:endpoint_id>/rotate", needs=needs, gives=Secret)
    def rotate_webhook_secret(by: Actor, endpoint_id: int) -> Secret:
        """A new secret; for a day events carry the signature of the old one too."""
        hooks.rotate(by, endpoint_id)
        return Secret(secret=hooks.secret(by.business_id, endpoint_id))

    @api.on(
        "POST", "/webhooks/<int:endpoint_id>/ping", needs=needs, gives=DeliveryOut, status=201, problems=("conflict",)
    )
    def ping_webhook(by: Actor, endpoint_id: int) -> Answer:
        """Send a test event."""
        try:
            sent = hooks.ping(by, endpoint_id)
        except Unusable as refusal:
            raise _wrong(refusal) from None
        delivery = hooks.delivery(by.business_id, sent)
        return Answer(DeliveryOut.model_validate(delivery), location=f"/webhook-deliveries/{sent}")

    @api.on("GET", "/webhooks/<int:endpoint_id>/deliveries", needs=needs, query=PageQuery, gives=Page[DeliveryOut])
    def list_deliveries(by: Actor, endpoint_id: int, query: PageQuery) -> Page[DeliveryOut]:
        """What was sent there, the latest first, of the last 30 days."""
        before = query.after[1] if query.after is not None else None
        rows = hooks.deliveries(by.business_id, endpoint_id, before=before, limit=query.limit + 1)
        items = [DeliveryOut.model_validate(row) for row in rows[: query.limit]]
        more = len(rows) > query.limit
        return Page[DeliveryOut](items=items, next=cursors.write((None, items[-1].id)) if more else None)

    @api.on("POST", "/webhooks/<int:endpoint_id>/replay", needs=needs, gives=Replayed)
    def replay_failed(by: Actor, endpoint_id: int) -> Replayed:
        """Send all that was given up once more."""
        return Replayed(count=hooks.replay_failed(by, endpoint_id))

    @api.on("GET", "/webhook-deliveries/<int:delivery_id>", needs=needs, gives=DeliveryOut)
    def get_delivery(by: Actor, delivery_id: int) -> DeliveryOut:
        """One delivery."""
        return DeliveryOut.model_validate(hooks.delivery(by.business_id, delivery_id))

    @api.on("POST", "/webhook-deliveries/<int:delivery_id>/replay", needs=needs, gives=DeliveryOut)
    def replay_delivery(by: Actor, delivery_id: int) -> DeliveryOut:
        """Send it once more, under the same `webhook-id`."""
        hooks.replay(by, delivery_id)
        return DeliveryOut.model_validate(hooks.delivery(by.business_id, delivery_id))


def _wrong(refusal: Unusable) -> Problem:
    told = {"too_many": "There are twenty addresses already: remove one first.", "off": "Switch it on first."}
    if str(refusal) in told:
        return Problem("conflict", told[str(refusal)])
    return Problem("invalid", errors=[{"where": f"body.{refusal}", "what": "It cannot be used."}])
