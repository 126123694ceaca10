"""What people do with calls that run: call from the browser, hear one, tell it something. Figures of the wallboard.

Each change is one transaction with its line in the audit log; a call of another business, or one that is over, raises
`LookupError`. The process that serves a call may be another one: orders wait in the database until it takes them.

    web      ticket, order -> audit_entry, supervise_ticket | call_order
    media    redeem, take_orders, note
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from moked.crm import audit, passwords
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.models import AuditEntry, Call, CallState, Lead, MediaNode, Turn
from moked.crm.service import HEARTBEAT_LIMIT_S
from moked.crm.tables_live import CallOrder, SuperviseTicket
from moked.records import FROM_BROWSER, Order, OrderKind, Outcome, Supervisor

LONGEST_WORD = 500
"""Letters of an instruction."""

_TICKET = timedelta(seconds=30)
_ORDER = timedelta(seconds=30)
_KEPT = timedelta(days=1)
_ACTIONS = {OrderKind.WHISPER: "call.whispered", OrderKind.END: "call.ended", OrderKind.TRANSFER: "call.transferred"}


@dataclass(frozen=True, slots=True)
class Admission:
    """To a supervisor's socket: the token, and the carrier's address of the process that serves the call."""

    token: str
    media_url: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the business's own day, which begins at its midnight. `answer_ms`: the middle answer; None without any."""

    live: int
    answered: int
    missed: int
    leads: int
    answer_ms: int | None
    at: datetime


class Live(Records):
    """On `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    # ---- at the desk

    def own_call(self, by: Actor, sid: str) -> bool:
        """Whether this call comes from a browser of the business."""
        rules = (Call.sid == sid, Call.business_id == by.business_id, Call.direction == FROM_BROWSER)
        with self._read.begin() as session:
            return session.scalar(select(Call.id).where(*rules)) is not None

    def ticket(self, by: Actor, sid: str, *, talks: bool) -> Admission:
        """To listen to the call, and to take it over where `talks`."""
        now = self._clock()
        with self._running(by, sid) as (session, call):
            address = session.scalar(select(MediaNode.address).where(MediaNode.name == call.node))
            if not address:
                raise LookupError(f"nobody serves call {sid}")
            session.execute(delete(SuperviseTicket).where(SuperviseTicket.expires_at < now - _KEPT))
            token = passwords.token()
            session.add(
                SuperviseTicket(
                    token_hash=passwords.digest(token),
                    business_id=by.business_id,
                    call_id=call.id,
                    user_id=by.user_id,
                    who=by.name,
                    talks=talks,
                    created_at=now,
                    expires_at=now + _TICKET,
                )
            )
            audit.note(session, by, "call.taken_over" if talks else "call.listened", f"call:{sid}", now)
            return Admission(token, address)

    def order(self, by: Actor, sid: str, kind: OrderKind, text: str = "") -> None:
        """Tell the call. `text`: the instruction, or the number to transfer to."""
        now = self._clock()
        with self._running(by, sid) as (session, call):
            session.execute(delete(CallOrder).where(CallOrder.created_at < now - _KEPT))
            session.add(
                CallOrder(
                    business_id=by.business_id,
                    call_id=call.id,
                    kind=kind.value,
                    text=text[:LONGEST_WORD],
                    who=by.name,
                    created_at=now,
                )
            )
            audit.note(session, by, _ACTIONS[kind], f"call:{sid}", now)

    def node_addresses(self) -> list[str]:
        """The carrier's addresses of the media processes that are on record."""
        with self._read.begin() as session:
            return list(session.scalars(select(MediaNode.address).order_by(MediaNode.name)))

    def figures(self, business_id: int, zone: str) -> Figures:
        now = self._clock()
        here = now.astimezone(ZoneInfo(zone))
        start = datetime.combine(here.date(), time(), here.tzinfo)
        alive = now - timedelta(seconds=HEARTBEAT_LIMIT_S)
        today = (Call.business_id == business_id, Call.started_at >= start)
        live = (
            Call.business_id == business_id,
            Call.ended_at.is_(None),
            Call.heartbeat_at >= alive,
            Call.status == CallState.LIVE,
        )
        missed = Call.outcome.in_((Outcome.REFUSED, Outcome.NO_STREAM))
        answers = (
            select(Turn.sent_ms - Turn.speech_end_ms)
            .join(Call, Call.id == Turn.call_id)
            .where(*today, Turn.sent_ms.is_not(None), Turn.speech_end_ms.is_not(None))
        )
        with self._read.begin() as session:
            waited = [answer for answer in session.scalars(answers) if answer is not None]
            return Figures(
                live=session.scalar(select(func.count()).where(*live)) or 0,
                answered=session.scalar(select(func.count()).where(*today, Call.answered_at.is_not(None))) or 0,
                missed=session.scalar(select(func.count()).where(*today, missed)) or 0,
                leads=session.scalar(
                    select(func.count()).where(Lead.business_id == business_id, Lead.created_at >= start)
                )
                or 0,
                answer_ms=round(median(waited)) if waited else None,
                at=now,
            )

    # ---- at the process that serves the call

    def redeem(self, token: str, sid: str) -> Supervisor | None:
        """Use a ticket up; None where it is not good (any more)."""
        now = self._clock()
        theirs = select(Call.id).where(Call.sid == sid, Call.ended_at.is_(None)).scalar_subquery()
        with self._writing() as session:
            found = session.execute(
                update(SuperviseTicket)
                .where(
                    SuperviseTicket.token_hash == passwords.digest(token),
                    SuperviseTicket.call_id == theirs,
                    SuperviseTicket.used_at.is_(None),
                    SuperviseTicket.expires_at > now,
                )
                .values(used_at=now)
                .returning(
                    SuperviseTicket.business_id, SuperviseTicket.user_id, SuperviseTicket.who, SuperviseTicket.talks
                )
                .execution_options(synchronize_session=False)
            ).one_or_none()
        return None if found is None else Supervisor(found.business_id, found.user_id, found.who, found.talks)

    def note(self, who: Supervisor, action: str, sid: str) -> None:
        """What a supervisor did on the socket, in the audit log."""
        with self._writing() as session:
            session.add(
                AuditEntry(
                    business_id=who.business_id,
                    at=self._clock(),
                    user_id=who.user_id,
                    who=who.name,
                    action=action,
                    target=f"call:{sid}",
                    data={},
                )
            )

    def take_orders(self, sids: Sequence[str]) -> list[Order]:
        """The orders to these calls that nobody took, oldest first; each is given out once, and an old one never."""
        now = self._clock()
        calls = select(Call.id).where(Call.sid.in_(sids))
        waiting = (CallOrder.call_id.in_(calls), CallOrder.taken_at.is_(None), CallOrder.created_at > now - _ORDER)
        with self._read.begin() as session:  # nearly always there is none, and no write lock is needed for that
            if session.scalar(select(CallOrder.id).where(*waiting).limit(1)) is None:
                return []
        with self._writing() as session:
            taken = session.execute(
                update(CallOrder)
                .where(*waiting)
                .values(taken_at=now)
                .returning(CallOrder.id, CallOrder.call_id, CallOrder.kind, CallOrder.text, CallOrder.who)
                .execution_options(synchronize_session=False)
            ).all()
            sid_of = {row.id: row.sid for row in session.execute(select(Call.id, Call.sid).where(Call.sid.in_(sids)))}
        return [Order(sid_of[row.call_id], OrderKind(row.kind), row.text, row.who) for row in sorted(taken)]

    # ---- steps

    @contextmanager
    def _running(self, by: Actor, sid: str) -> Iterator[tuple[Session, Call]]:
        with self._writing() as session:
            call = session.scalars(
                select(Call).where(
                    Call.sid == sid,
                    Call.business_id == by.business_id,
                    Call.ended_at.is_(None),
                    Call.status == CallState.LIVE,
                )
            ).one_or_none()
            if call is None:
                raise LookupError(f"no call {sid} runs")
            yield session, call
