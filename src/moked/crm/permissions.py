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
    AUDIT = "audit"  # what everybody did
    USERS = "users"  # who may come in, and as what
    ROLLOUT = "rollout"  # how calls are heard
    INTEGRATIONS = "integrations"  # keys of the API, and where events are sent
    SELF = "self"  # one's own password, second factor and sessions


_VIEWER = frozenset({Permission.VIEW, Permission.SELF})
_AGENT = _VIEWER | {Permission.EDIT}
_MANAGER = _AGENT | {Permission.ASSIGN, Permission.AUDIT}

ALLOWED: Mapping[UserRole, frozenset[Permission]] = {
    UserRole.VIEWER: _VIEWER,
    UserRole.AGENT: _AGENT,
    UserRole.MANAGER: _MANAGER,
    UserRole.OWNER: _MANAGER | {Permission.USERS, Permission.ROLLOUT, Permission.INTEGRATIONS},
}

SCOPES: frozenset[Permission] = frozenset(Permission) - {Permission.SELF, Permission.USERS}
"""What a key of the API can be given: one's own account and who may come in are for people alone."""


def may(role: UserRole, permission: Permission) -> bool:
    return permission in ALLOWED[role]
