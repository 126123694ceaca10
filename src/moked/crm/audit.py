"""What people do at the desk, put on record inside the transaction that does it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from moked.crm.models import AuditEntry, Business, UserAccount
from moked.crm.permissions import Permission, UserRole, may


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as the session in their browser or their key of the API says. Everything they see or change is their
    business's. `scopes`: what the key is for, None without one. `expects`: the version of the row they mean to change
    (`versions.version`), '' = whatever it is by now.
    """

    user_id: int
    business_id: int
    name: str
    email: str
    role: UserRole
    session_id: int
    business: str = ""
    timezone: str = "Asia/Jerusalem"
    second_factor: bool = False
    scopes: frozenset[Permission] | None = None
    key_id: int = 0
    expects: str = ""

    def may(self, permission: Permission) -> bool:
        """A key never does more than whoever made it may do by now."""
        return may(self.role, permission) and (self.scopes is None or permission in self.scopes)

    @staticmethod
    def of(user: UserAccount, business: Business, session_id: int) -> "Actor":
        return Actor(
            user.id,
            user.business_id,
            user.name,
            user.email,
            user.role,
            session_id,
            business.name,
            business.timezone,
            user.second_factor,
        )


def note(session: Session, by: Actor | UserAccount, action: str, target: str, at: datetime, **data: Any) -> None:
    """One line of the audit log: a stable `action` such as 'lead.moved', and what it was done to ('lead:7')."""
    if isinstance(by, Actor) and by.key_id:
        data["key"] = by.key_id
    session.add(
        AuditEntry(
            business_id=by.business_id,
            at=at,
            user_id=by.user_id if isinstance(by, Actor) else by.id,
            who=by.name,
            action=action,
            target=target,
            data=data,
        )
    )
