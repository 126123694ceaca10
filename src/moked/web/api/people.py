"""Who works at the desk, what everybody did, and whose key this is."""

from typing import Any

from pydantic import BaseModel, Field

from moked.crm.audit import Actor
from moked.crm.permissions import SCOPES, Permission, UserRole
from moked.web.api.layer import Api
from moked.web.api.schemas import Moment, Out, Page, PageQuery, page_of
from moked.web.parts import ApiParts


class UserOut(Out):
    id: int
    name: str
    role: UserRole
    active: bool


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

    @api.on("GET", "/me", needs=Permission.VIEW, gives=Me)
    def get_me(by: Actor) -> Me:
        """Whose key this is, and what it may do."""
        scopes = sorted(scope.value for scope in SCOPES if by.may(scope))
        return Me(business=by.business, timezone=by.timezone, acts_for=by.user_id, scopes=scopes)

    @api.on("GET", "/users", needs=Permission.VIEW, query=PageQuery, gives=Page[UserOut])
    def list_users(by: Actor, query: PageQuery) -> Page[UserOut]:
        """Who works at the desk."""
        return page_of(UserOut, parts.desk.user_list(by.business_id, after=query.after, limit=query.limit))

    @api.on("GET", "/audit", needs=Permission.AUDIT, query=PageQuery, gives=Page[AuditOut])
    def list_audit(by: Actor, query: PageQuery) -> Page[AuditOut]:
        """What everybody did, the latest first."""
        return page_of(AuditOut, parts.desk.audit_list(by.business_id, after=query.after, limit=query.limit))
