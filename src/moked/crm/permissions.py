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
    OUTREACH = "outreach"  # campaigns, sending hours and texts, the registry; what waits for a person's word
    ASSIGN = "assign"  # who takes care of a lead
    SETUP = "setup"  # what is asked about leads: own fields, reasons why one is lost
    FILES = "files"  # contacts from a file, and lists as files
    CHANNELS = "channels"  # the accounts that messages go through
    AUDIT = "audit"  # what everybody did
    ANALYTICS = "analytics"  # figures of all calls, and what they cost
    SETTINGS = "settings"  # the business, what its agent says, how calls are heard
    LISTEN_RECORDING = "listen_recording"  # what was said, in the caller's own voice
    JOBS = "jobs"  # work after calls: what failed, and trying it again
    USERS = "users"  # who may come in, and as what
    ROLLOUT = "rollout"  # how calls are heard
    INTEGRATIONS = "integrations"  # keys of the API, and where events are sent
    PRIVACY = "privacy"  # what is kept for how long; one person's data handed out, held or erased
    CALENDAR = "calendar"  # one's own tasks, and nobody's, as a calendar
    SELF = "self"  # one's own password, second factor and sessions
    PHONE = "phone"  # talk to the agent from the browser
    LISTEN = "listen"  # hear a call that runs
    WHISPER = "whisper"  # instruct the agent in it
    TAKE_OVER = "take_over"  # speak in the agent's place
    END_CALL = "end_call"
    TRANSFER = "transfer"  # connect the caller to a number


_VIEWER = frozenset({Permission.VIEW, Permission.CALENDAR, Permission.SELF})
_AGENT = _VIEWER | {Permission.EDIT, Permission.PHONE}
_SUPERVISION = {
    Permission.LISTEN,
    Permission.WHISPER,
    Permission.TAKE_OVER,
    Permission.END_CALL,
    Permission.TRANSFER,
}
_MANAGER = (
    _AGENT
    | _SUPERVISION
    | {
        Permission.ASSIGN,
        Permission.AUDIT,
        Permission.JOBS,
        Permission.OUTREACH,
        Permission.SETUP,
        Permission.FILES,
        Permission.ANALYTICS,
        Permission.SETTINGS,
        Permission.ROLLOUT,
        Permission.LISTEN_RECORDING,
        Permission.CHANNELS,
    }
)

ALLOWED: Mapping[UserRole, frozenset[Permission]] = {
    UserRole.VIEWER: _VIEWER,
    UserRole.AGENT: _AGENT,
    UserRole.MANAGER: _MANAGER,
    UserRole.OWNER: _MANAGER | {Permission.USERS, Permission.INTEGRATIONS, Permission.PRIVACY},
}

SCOPES: frozenset[Permission] = frozenset(
    {
        Permission.VIEW,
        Permission.EDIT,
        Permission.CALENDAR,
        Permission.ASSIGN,
        Permission.SETUP,
        Permission.USERS,
        Permission.AUDIT,
        Permission.ROLLOUT,
        Permission.INTEGRATIONS,
    }
)
"""What a key of the API can be given: one's own account is for people alone, and so is who is an owner."""


def may(role: UserRole, permission: Permission) -> bool:
    return permission in ALLOWED[role]
