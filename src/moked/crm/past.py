"""What was said to somebody before, elsewhere: the phone's agent knows what was written, the writing one what was said.

Notes for an agent (`CallContext.notes`): a heading, and the newest words under it.
"""

from collections.abc import Iterable

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from moked.crm.db import READ_ONLY
from moked.crm.models import Call, Lead, Turn
from moked.crm.tables_whatsapp import Conversation, Message

_LINES = 8
_LETTERS = 900
CALL = "משיחת הטלפון האחרונה"
CHAT = "מההתכתבות האחרונה"
SUMMARY = "סיכום הפנייה הקודמת"


class Past:
    """Reads `engine`."""

    def __init__(self, engine: Engine) -> None:
        self._read = sessionmaker(engine.execution_options(**READ_ONLY))

    def of_contact(self, contact_id: int, but_conversation: int | None = None) -> dict[str, str]:
        """Without the conversation that is going on."""
        with self._read.begin() as session:
            found = {
                CALL: _call(session, contact_id),
                CHAT: _chat(session, contact_id, but_conversation),
                SUMMARY: session.scalar(
                    select(Lead.summary)
                    .where(Lead.contact_id == contact_id, Lead.summary != "")
                    .order_by(Lead.updated_at.desc())
                    .limit(1)
                )
                or "",
            }
        return {heading: words[-_LETTERS:] for heading, words in found.items() if words}


def _call(session: Session, contact_id: int) -> str:
    call = session.scalar(
        select(Call.id)
        .where(Call.contact_id == contact_id, Call.ended_at.is_not(None))
        .order_by(Call.started_at.desc())
        .limit(1)
    )
    if call is None:
        return ""
    turns = session.execute(
        select(Turn.caller_text, Turn.heard).where(Turn.call_id == call).order_by(Turn.number.desc()).limit(_LINES // 2)
    ).all()
    return _joined(line for said, heard in reversed(turns) for line in ((True, said), (False, heard)))


def _chat(session: Session, contact_id: int, but: int | None) -> str:
    rows = session.execute(
        select(Message.inbound, Message.text)
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Conversation.contact_id == contact_id, Message.conversation_id != (but or 0), Message.text != "")
        .order_by(Message.id.desc())
        .limit(_LINES)
    ).all()
    return _joined((inbound, text) for inbound, text in reversed(rows))


def _joined(lines: Iterable[tuple[bool, str]]) -> str:
    return " / ".join(
        f"{'הפונה' if theirs else 'אנחנו'}: {' '.join(text.split())}" for theirs, text in lines if text.strip()
    )
