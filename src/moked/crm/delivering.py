"""Webhooks out, for the worker: what is due, and what became of it. Every public method is one transaction.

    pending -> claimed (due again in a while, for the case that we die) -> delivered
       ^                                                               '-> pending, later | failed: given up
       '------------------ a person replays it ---------------------------'

An endpoint that nothing reached for `GIVE_UP` is switched off, and its people are told; so is one that answers 410.
Sending itself is `jobs.webhooks`: no transaction is open while it takes time.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from moked.crm import signing
from moked.crm.db import Records
from moked.crm.hooks import place
from moked.crm.models import AuditEntry
from moked.crm.sealed import Sealer
from moked.crm.tables_api import DeliveryState, WebhookDelivery, WebhookEndpoint

log = logging.getLogger(__name__)

GIVE_UP = timedelta(days=3)
KEPT = timedelta(days=30)
"""So long what was delivered, or given up, can be looked at and replayed."""
_LEASE = timedelta(minutes=2)
_AT_ONCE, _EACH = 24, 4
_LOG = 10
_GONE = 410


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours to send now. `secrets`: all that sign it."""

    id: int
    url: str
    event_id: str
    type: str
    payload: dict[str, Any]
    secrets: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt. `status` 0: no answer, `error` says why. `retry_after`: what the other side asks for."""

    status: int = 0
    error: str = ""
    response: str = ""
    took_ms: int = 0
    retry_after: timedelta | None = None

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Sending(Records):
    """The outbox of all businesses on `engine`. `private`: addresses inside may be sent to."""

    def __init__(self, engine: Engine, sealer: Sealer, *, private: bool = False) -> None:
        super().__init__(engine)
        self._sealer = sealer
        self.private = private

    def claim(self, now: datetime) -> list[Claimed]:
        """What is due, a few of each endpoint; ours for two minutes, then anybody's again."""
        with self._writing() as session:
            rank = func.row_number().over(partition_by=WebhookDelivery.endpoint_id, order_by=WebhookDelivery.due_at)
            due = (
                select(WebhookDelivery.id, rank.label("rank"))
                .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
                .where(
                    WebhookDelivery.state == DeliveryState.PENDING,
                    WebhookDelivery.due_at <= now,
                    WebhookEndpoint.active,
                )
                .subquery()
            )
            ids = select(due.c.id).where(due.c.rank <= _EACH).limit(_AT_ONCE)
            rows = session.execute(
                select(WebhookDelivery, WebhookEndpoint)
                .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
                .where(
                    WebhookDelivery.id.in_(ids),
                    WebhookDelivery.state == DeliveryState.PENDING,
                    WebhookDelivery.due_at <= now,
                )
                .order_by(WebhookDelivery.id)
                .with_for_update(of=WebhookDelivery, skip_locked=True)
            ).all()
            claimed = []
            for delivery, endpoint in rows:
                delivery.attempts += 1
                delivery.due_at = now + _LEASE
                claimed.append(
                    Claimed(
                        delivery.id,
                        endpoint.url,
                        delivery.event_id,
                        delivery.type,
                        delivery.payload,
                        self._secrets(endpoint, now),
                        delivery.attempts,
                    )
                )
            return claimed

    def settle(self, claimed: Claimed, result: Result, now: datetime, spread: float) -> DeliveryState | None:
        """Put the attempt on record and decide how it goes on. `spread`: 0..1, random. None: it is gone by now."""
        with self._writing() as session:
            delivery = session.get(WebhookDelivery, claimed.id, with_for_update=True)
            if delivery is None or delivery.attempts != claimed.attempt:
                return None  # removed, replayed, or somebody else's after all
            endpoint = session.get(WebhookEndpoint, delivery.endpoint_id, with_for_update=True)
            assert endpoint is not None, "the key holds"
            entry = {
                "at": now.isoformat(),
                "status": result.status,
                "ms": result.took_ms,
                "error": result.error,
                "response": result.response,
            }
            delivery.log = [*delivery.log, entry][-_LOG:]
            if result.good:
                delivery.state, delivery.delivered_at = DeliveryState.DELIVERED, now
                endpoint.failing_since = None
                return delivery.state
            endpoint.failing_since = endpoint.failing_since or now
            wait = signing.retry_after(delivery.attempts, spread, result.retry_after)
            if wait is None:
                delivery.state = DeliveryState.FAILED
            else:
                delivery.due_at = now + wait
            if result.status == _GONE:
                self._switch_off(session, endpoint, "gone", now)
            elif now - endpoint.failing_since > GIVE_UP:
                self._switch_off(session, endpoint, "failing", now)
            return delivery.state

    def prune(self, now: datetime) -> None:
        """Forget what is old."""
        with self._writing() as session:
            session.execute(
                delete(WebhookDelivery)
                .where(WebhookDelivery.created_at < now - KEPT)
                .execution_options(synchronize_session=False)
            )

    # ---- inside

    def _switch_off(self, session: Session, endpoint: WebhookEndpoint, why: str, now: datetime) -> None:
        if not endpoint.active:
            return
        endpoint.active, endpoint.disabled_why, endpoint.updated_at = False, why, now
        session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.state == DeliveryState.PENDING)
            .values(state=DeliveryState.FAILED)
            .execution_options(synchronize_session="fetch")
        )
        session.add(
            AuditEntry(
                business_id=endpoint.business_id,
                at=now,
                who="Moked",
                action="webhook.switched_off",
                target=f"webhook:{endpoint.id}",
                data={"why": why},
            )
        )
        log.warning("a webhook was switched off", extra={"webhook": endpoint.id, "reason": why})

    def _secrets(self, endpoint: WebhookEndpoint, now: datetime) -> tuple[str, ...]:
        sealed = [endpoint.secret]
        if endpoint.old_secret is not None and endpoint.old_until is not None and endpoint.old_until > now:
            sealed.append(endpoint.old_secret)
        return tuple(self._sealer.open(one, place(endpoint)).decode() for one in sealed)
