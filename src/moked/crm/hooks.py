"""Webhooks out, for people: where events go, what became of each, and sending again. Every public method is one
transaction. What the worker does is `delivering`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from moked.crm import audit, signing
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.events import EVENTS, PING, deliveries
from moked.crm.sealed import Sealer
from moked.crm.tables_api import DeliveryState, WebhookDelivery, WebhookEndpoint
from moked.crm.versions import check

ROTATION = timedelta(days=1)
"""So long the old secret signs beside the new one."""
_MOST = 20
_PAGE = 50


class Unusable(ValueError):
    """An endpoint cannot be like that. `str` is why: 'url', 'events', 'name', 'too_many', 'off'."""


class Hooks(Records):
    """Endpoints and deliveries on `engine`. `clock` gives aware UTC; `private`: addresses inside may be sent to."""

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        *,
        private: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self._sealer = sealer
        self._private = private
        self._clock = clock

    # ---- endpoints

    def endpoints(self, business_id: int) -> Sequence[WebhookEndpoint]:
        with self._read.begin() as session:
            mine = select(WebhookEndpoint).where(WebhookEndpoint.business_id == business_id)
            return session.scalars(mine.order_by(WebhookEndpoint.id)).all()

    def endpoint(self, business_id: int, endpoint_id: int) -> WebhookEndpoint:
        """Raises `LookupError`."""
        with self._read.begin() as session:
            return _mine(session, business_id, endpoint_id)

    def stopped(self, business_id: int) -> bool:
        """Whether we switched one off, and nobody has looked at it yet."""
        ours = WebhookEndpoint.business_id == business_id, WebhookEndpoint.disabled_why != ""
        with self._read.begin() as session:
            return session.scalar(select(WebhookEndpoint.id).where(*ours).limit(1)) is not None

    def add(self, by: Actor, url: str, name: str, events: Collection[str]) -> WebhookEndpoint:
        """A new one, with a secret of its own. Raises `Unusable`."""
        url, name, events = self._usable(url, name, events)
        with self._writing() as session:
            theirs = select(func.count()).where(WebhookEndpoint.business_id == by.business_id)
            if (session.scalar(theirs) or 0) >= _MOST:
                raise Unusable("too_many")
            now = self._clock()
            found = WebhookEndpoint(
                business_id=by.business_id,
                url=url,
                name=name,
                events=events,
                secret=b"",
                created_at=now,
                updated_at=now,
            )
            session.add(found)
            session.flush()
            found.secret = self._seal(found, signing.new_secret())
            audit.note(session, by, "webhook.added", f"webhook:{found.id}", now, url=url)
            return found

    def change(
        self,
        by: Actor,
        endpoint_id: int,
        *,
        url: str | None = None,
        name: str | None = None,
        events: Collection[str] | None = None,
        active: bool | None = None,
    ) -> None:
        """What is None stays. Switched on again it begins afresh. Raises `LookupError`, `Unusable`, `Stale`."""
        with self._mine(by, endpoint_id) as (session, found):
            found.url, found.name, found.events = self._usable(
                found.url if url is None else url,
                found.name if name is None else name,
                found.events if events is None else events,
            )
            if active is not None:
                if active:
                    found.failing_since = None
                found.active, found.disabled_why = active, ""
            found.updated_at = self._clock()
            audit.note(session, by, "webhook.changed", f"webhook:{found.id}", self._clock(), active=found.active)

    def remove(self, by: Actor, endpoint_id: int) -> None:
        with self._mine(by, endpoint_id) as (session, found):
            session.delete(found)
            audit.note(session, by, "webhook.removed", f"webhook:{found.id}", self._clock(), url=found.url)

    def secret(self, business_id: int, endpoint_id: int) -> str:
        """What its events are signed with. Raises `LookupError`."""
        found = self.endpoint(business_id, endpoint_id)
        return self._sealer.open(found.secret, place(found)).decode()

    def rotate(self, by: Actor, endpoint_id: int) -> None:
        """A new secret; the old one signs beside it for a day."""
        with self._mine(by, endpoint_id) as (session, found):
            now = self._clock()
            found.old_secret, found.old_until = found.secret, now + ROTATION
            found.secret, found.updated_at = self._seal(found, signing.new_secret()), now
            audit.note(session, by, "webhook.rotated", f"webhook:{found.id}", now)

    def ping(self, by: Actor, endpoint_id: int) -> int:
        """A test event to this endpoint alone, if it is on. Returns the delivery's id."""
        with self._mine(by, endpoint_id) as (session, found):
            if not found.active:
                raise Unusable("off")
            (sent,) = deliveries([found], PING, {"business": by.business}, self._clock())
            session.add(sent)
            session.flush()
            audit.note(session, by, "webhook.pinged", f"webhook:{found.id}", self._clock())
            return sent.id

    # ---- deliveries

    def deliveries(
        self, business_id: int, endpoint_id: int, *, before: int | None = None, limit: int = _PAGE
    ) -> Sequence[WebhookDelivery]:
        """The latest first, from before the id `before` on. Raises `LookupError` for no endpoint of this business."""
        with self._read.begin() as session:
            _mine(session, business_id, endpoint_id)
            rules = [WebhookDelivery.business_id == business_id, WebhookDelivery.endpoint_id == endpoint_id]
            if before is not None:
                rules.append(WebhookDelivery.id < before)
            query = select(WebhookDelivery).where(*rules).order_by(WebhookDelivery.id.desc()).limit(limit)
            return session.scalars(query).all()

    def delivery(self, business_id: int, delivery_id: int) -> WebhookDelivery:
        """Raises `LookupError`."""
        with self._read.begin() as session:
            found = session.get(WebhookDelivery, delivery_id)
            if found is None or found.business_id != business_id:
                raise LookupError(f"no delivery {delivery_id}")
            return found

    def replay(self, by: Actor, delivery_id: int) -> int:
        """Send it once more, now, whatever became of it: with the same id, so that who has it knows. Returns the
        endpoint's id."""
        with self._writing() as session:
            found = session.get(WebhookDelivery, delivery_id, with_for_update=True)
            if found is None or found.business_id != by.business_id:
                raise LookupError(f"no delivery {delivery_id}")
            found.state, found.attempts, found.due_at = DeliveryState.PENDING, 0, self._clock()
            audit.note(
                session, by, "webhook.replayed", f"webhook:{found.endpoint_id}", self._clock(), event=found.event_id
            )
            return found.endpoint_id

    def replay_failed(self, by: Actor, endpoint_id: int) -> int:
        """All that were given up, once more. Returns how many."""
        with self._mine(by, endpoint_id) as (session, found):
            rows = session.scalars(
                select(WebhookDelivery)
                .where(
                    WebhookDelivery.business_id == by.business_id,
                    WebhookDelivery.endpoint_id == found.id,
                    WebhookDelivery.state == DeliveryState.FAILED,
                )
                .with_for_update()
            ).all()
            for row in rows:
                row.state, row.attempts, row.due_at = DeliveryState.PENDING, 0, self._clock()
            audit.note(session, by, "webhook.replayed", f"webhook:{found.id}", self._clock(), count=len(rows))
            return len(rows)

    # ---- inside

    def _usable(self, url: str, name: str, events: Collection[str]) -> tuple[str, str, list[str]]:
        url, name = url.strip(), " ".join(name.split())[:100]
        if not signing.acceptable(url, private=self._private):
            raise Unusable("url")
        if not name:
            raise Unusable("name")
        if not events or not set(events) <= set(EVENTS):
            raise Unusable("events")
        return url, name, sorted(set(events))

    def _seal(self, endpoint: WebhookEndpoint, secret: str) -> bytes:
        return self._sealer.seal(secret.encode(), place(endpoint))

    @contextmanager
    def _mine(self, by: Actor, endpoint_id: int) -> Iterator[tuple[Session, WebhookEndpoint]]:
        with self._writing() as session:
            found = _mine(session, by.business_id, endpoint_id, lock=True)
            check(by.expects, found)
            yield session, found


def place(endpoint: WebhookEndpoint) -> str:
    """What its secrets are sealed for."""
    return f"webhook:{endpoint.id}"


def _mine(session: Session, business_id: int, endpoint_id: int, *, lock: bool = False) -> WebhookEndpoint:
    found = session.get(WebhookEndpoint, endpoint_id, with_for_update=lock or None)
    if found is None or found.business_id != business_id:
        raise LookupError(f"no endpoint {endpoint_id}")
    return found
