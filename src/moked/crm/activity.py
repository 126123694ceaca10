"""What happened with a person, for their timeline: one row each, never changed.

Calls, tasks and leads are on the timeline by themselves. Everything else is recorded here, by whoever makes it happen,
inside its own transaction:

    activity.record(session, contact, "message", at=now, who="WhatsApp", text=words, data={"direction": "in"})

The page shows a `kind` as the words `activity.<kind>` say it (a part brings them in a topic file of its own), with who,
the text, and a link into the desk. A kind without words is shown as 'activity.other'.
"""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from moked.crm.models import Contact, Lead
from moked.crm.tables_crm import Activity

NOTE, STAGE, MERGED, IMPORTED = "note", "stage", "merged", "imported"


def record(
    session: Session,
    about: Contact | Lead,
    kind: str,
    *,
    at: datetime,
    who: str = "",
    text: str = "",
    link: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    """A line in the timeline of the contact, or of the lead's contact."""
    is_lead = isinstance(about, Lead)
    session.add(
        Activity(
            business_id=about.business_id,
            contact_id=about.contact_id if isinstance(about, Lead) else about.id,
            lead_id=about.id if is_lead else None,
            at=at,
            kind=kind,
            who=who,
            text=text,
            link=link,
            data=data or {},
        )
    )
