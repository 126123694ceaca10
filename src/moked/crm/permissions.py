"""Who may do what at the desk (pure): one table, asked in one place.

A page or change names the one permission it needs; a role has a set of them. What is not in the table is forbidden.
"""

from collections.abc import Mapping
from enum import StrEnum


class UserRole(StrEnum):
    """בעלים, ניהול, נציגות, צפייה."""

    OWNER = "owner"
    MANAGER = "manager"
    AGENT = "agent"
    VIEWER = "viewer"


class Permission(StrEnum):
    VIEW = "view"  # leads, contacts, calls, tasks
    EDIT = "edit"  # fields, stages, notes, tasks, names
    ASSIGN = "assign"  # who takes care of a lead
    CHANNELS = "channels"  # the accounts that messages go through
    AUDIT = "audit"  # what everybody did
    USERS = "users"  # who may come in, and as what
    SELF = "self"  # one's own password, second factor and sessions


_VIEWER = frozenset({Permission.VIEW, Permission.SELF})
_AGENT = _VIEWER | {Permission.EDIT}
_MANAGER = _AGENT | {Permission.ASSIGN, Permission.AUDIT, Permission.CHANNELS}

ALLOWED: Mapping[UserRole, frozenset[Permission]] = {
    UserRole.VIEWER: _VIEWER,
    UserRole.AGENT: _AGENT,
    UserRole.MANAGER: _MANAGER,
    UserRole.OWNER: _MANAGER | {Permission.USERS},
}


def may(role: UserRole, permission: Permission) -> bool:
    return permission in ALLOWED[role]
