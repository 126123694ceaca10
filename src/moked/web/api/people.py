"""Who works at the desk, what everybody did, and whose key this is."""

from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from moked.crm.access import INVITED, Refused
from moked.crm.audit import Actor
from moked.crm.models import UserAccount
from moked.crm.permissions import SCOPES, Permission, UserRole
from moked.web.api.layer import Answer, Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import In, Moment, Out, Page, PageQuery, page_of
from moked.web.parts import ApiParts

_OWNERS = "Owners are made, changed and let in again by people, at the desk."
Role = Literal[UserRole.MANAGER, UserRole.AGENT, UserRole.VIEWER]


class UserOut(Out):
    id: int
    name: str
    role: UserRole
    active: bool


class UserNew(In):
    email: str = Field(max_length=200, description="It is their login, in the whole installation")
    name: str = Field(min_length=1, max_length=100)
    role: Role


class UserEdit(In):
    """Only what is given changes. A closed account is logged out, and its keys open nothing."""

    role: Role | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _something(self) -> "UserEdit":
        if self.role is None and self.active is None:
            raise ValueError("say what is to change")
        return self


class Invitation(BaseModel):
    link: str = Field(description="Opens the page where they choose their password; good once")
    good_until: Moment


class AuditOut(Out):
    id: int
    at: Moment
    user_id: int | None
    who: str
    action: str
    target: str = Field(description="What it was done to, such as `lead:7`")
    data: dict[str, Any]


class Me(BaseModel):
    business: str
    timezone: str
    acts_for: int = Field(description="Id of the user who made the key")
    scopes: list[str]


def add(api: Api, parts: ApiParts) -> None:
    """`/me`, `/users`, `/audit`."""

    def user(by: Actor, user_id: int) -> UserAccount:
        found = parts.desk.row(UserAccount, by.business_id, user_id)
        if found is None:
            raise LookupError
        return found

    def no_owner(by: Actor, user_id: int) -> UserAccount:
        found = user(by, user_id)
        if found.role is UserRole.OWNER:
            raise Problem("conflict", _OWNERS)
        return found

    @api.on("GET", "/me", needs=Permission.VIEW, gives=Me)
    def get_me(by: Actor) -> Me:
        """Whose key this is, and what it may do."""
        scopes = sorted(scope.value for scope in SCOPES if by.may(scope))
        return Me(business=by.business, timezone=by.timezone, acts_for=by.user_id, scopes=scopes)

    @api.on("GET", "/users", needs=Permission.VIEW, query=PageQuery, gives=Page[UserOut])
    def list_users(by: Actor, query: PageQuery) -> Page[UserOut]:
        """Who works at the desk."""
        return page_of(UserOut, parts.desk.user_list(by.business_id, after=query.after, limit=query.limit))

    @api.on("POST", "/users", needs=Permission.USERS, body=UserNew, gives=UserOut, status=201, problems=("conflict",))
    def invite_user(by: Actor, body: UserNew) -> Answer:
        """Make an account.

        Nobody can log in with it yet: ask for its link, and give it to them.
        """
        try:
            made = parts.access.add_user(by, body.email, body.name, body.role)
        except Refused as refusal:
            if str(refusal) == "taken":
                raise Problem("conflict", "This address has an account already.") from None
            raise Problem("invalid", errors=[{"where": f"body.{refusal}", "what": "It cannot be used."}]) from None
        return Answer(UserOut.model_validate(user(by, made)), location=f"/users/{made}")

    @api.on("GET", "/users/<int:user_id>", needs=Permission.VIEW, gives=UserOut)
    def get_user(by: Actor, user_id: int) -> UserOut:
        """One account."""
        return UserOut.model_validate(user(by, user_id))

    @api.on("PUT", "/users/<int:user_id>/link", needs=Permission.USERS, gives=Invitation, problems=("conflict",))
    def renew_link(by: Actor, user_id: int) -> Invitation:
        """A new link for somebody who has no password yet, or lost it.

        The one before is no good any more. It is shown here alone, and kept nowhere.
        """
        token = parts.access.invite_again(by, no_owner(by, user_id).id)
        until = parts.desk.now() + INVITED - timedelta(seconds=1)
        return Invitation(link=f"{parts.base_url()}/join?token={token}", good_until=until)

    @api.on(
        "PATCH",
        "/users/<int:user_id>",
        needs=Permission.USERS,
        body=UserEdit,
        gives=UserOut,
        problems=("conflict",),
    )
    def edit_user(by: Actor, user_id: int, body: UserEdit) -> UserOut:
        """Give an account another role, close it, or open it again."""
        now = no_owner(by, user_id)
        role, active = body.role or now.role, now.active if body.active is None else body.active
        parts.access.change_user(by, user_id, role=role, active=active)
        return UserOut.model_validate(user(by, user_id))

    @api.on("GET", "/audit", needs=Permission.AUDIT, query=PageQuery, gives=Page[AuditOut])
    def list_audit(by: Actor, query: PageQuery) -> Page[AuditOut]:
        """What everybody did, the latest first."""
        return page_of(AuditOut, parts.desk.audit_list(by.business_id, after=query.after, limit=query.limit))
