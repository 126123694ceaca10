"""A row in every table that can tell something of a person, made from the tables themselves."""

from datetime import UTC, datetime

from sqlalchemy import JSON, Boolean, DateTime, Enum, Float, Integer, LargeBinary, String, insert, select
from sqlalchemy.orm import Session

from moked.crm.models import Base, Call, Contact, Lead, UserAccount
from moked.crm.outbox import call_key

HOUSE = frozenset(
    {
        # What the business is, decided, and made for itself.
        "business", "business_number", "lead_field", "lead_setting", "tag", "saved_view", "campaign", "sending_policy",
        "privacy_settings", "purge_run", "agent_version", "agent_rehearsal", "day_figures", "webhook_endpoint",
        # Its own people.
        "user_account", "user_session", "user_phone", "login_attempt", "api_key", "audit_entry",
        # The machinery.
        "media_node", "rollout_state", "rollout_change", "job_worker", "channel_account", "channel_lease",
        # Numbers that cannot be read any more.
        "suppression", "dnc_check",
    }
)  # fmt: skip
"""Tables without a caller's data. A new table belongs to a person, is forgotten by `crm.traces`, or is listed here."""

_PARENTS = frozenset({"api_key", "webhook_endpoint", "campaign", "tag", "lead_field"})
_THERE = frozenset({"contact", "lead", "call", "contact_merge", "search_entry", "recording", "recording_part"})
"""A call and a merge leave rows in these."""
_NOW = datetime(2026, 11, 22, tzinfo=UTC)


def furnish(engine, lead_id: int, needle: str) -> list[str]:
    """Put `needle` in every table that is not `HOUSE`, all about the person of this lead; returns the tables."""
    with Session(engine) as session, session.begin():
        lead = session.get_one(Lead, lead_id)
        contact = session.get_one(Contact, lead.contact_id)
        call = session.scalars(select(Call).where(Call.sid == lead.source_call_sid)).one()
        ids = {"business": contact.business_id, "contact": contact.id, "lead": lead.id, "call": call.id}
        user = UserAccount(
            business_id=contact.business_id, email="x@example.com", name="נועם", role="agent", password_hash="",
            created_at=_NOW,
        )  # fmt: skip
        session.add(user)
        session.flush()
        ids["user_account"] = user.id
        put = []
        for table in Base.metadata.sorted_tables:
            if table.name in _THERE or table.name in HOUSE - _PARENTS:
                continue
            text = "x" if table.name in HOUSE else needle
            known = {
                "job": {"key": f"{call_key(call.sid)}:x", "payload": {"call": call.sid, "x": needle}},
                "outbound_message": {"call_sid": call.sid, "contact_id": None},
                "stream_ticket": {"call_sid": call.sid},
                "task": {"call_id": None},
                "whatsapp_auth": {"key_id": f"{(contact.phone or '').removeprefix('+')}.0"},
                "webhook_delivery": {"payload": {"data": {"id": lead.id, "stage": "new", "need": needle}}},
            }.get(table.name, {})
            values = {c.name: known.get(c.name, _value(c, ids, text)) for c in table.columns if _wanted(c, table)}
            key = session.execute(insert(table).values(values)).inserted_primary_key
            ids.setdefault(table.name, key[0])
            if table.name not in HOUSE:
                put.append(table.name)
        return put


def _wanted(column, table) -> bool:
    alone = column.primary_key and not column.foreign_keys and len(table.primary_key.columns) == 1
    return not (alone and isinstance(column.type, Integer))


def _value(column, ids, text):
    for key in column.foreign_keys:
        return ids.get(key.column.table.name)
    match column.type:
        case Enum() as kind:
            return kind.python_type and next(iter(kind.python_type))
        case Boolean():
            return False
        case JSON():
            return {"x": text}
        case DateTime():
            return _NOW
        case LargeBinary():
            return text.encode()
        case Integer() | Float():
            return 7
        case String() as kind:
            return text[: kind.length or None]
    kind = getattr(column.type, "impl", None)
    if isinstance(kind, JSON):
        return {"x": text}
    if isinstance(kind, String):
        return text[: kind.length or None]
    return _NOW if isinstance(kind, DateTime) else text
