"""What a business asks about its leads: fields of its own, why leads are lost, the tags there are, kept filters."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from moked.crm.audit import Actor
from moked.crm.edits import Unreadable
from moked.crm.lead_fields import FieldKind
from moked.crm.permissions import Permission
from moked.web.api.layer import Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import In, Out
from moked.web.parts import ApiParts

Line = Annotated[str, Field(min_length=1, max_length=100)]
_TAKEN = "There is a field of this name, or there are thirty."


class FieldOut(Out):
    id: int
    name: str = Field(description="Also its name in a lead's `extra`")
    kind: FieldKind
    choices: list[str]


class FieldList(BaseModel):
    items: list[FieldOut]


class FieldNew(In):
    name: str = Field(min_length=1, max_length=60)
    kind: FieldKind
    choices: list[Line] = Field([], max_length=50, description="Of a choice")


class Reasons(BaseModel):
    items: list[str]


class ReasonsNew(In):
    items: list[Line] = Field(min_length=1, max_length=50)


class TagOut(Out):
    id: int
    name: str


class TagList(BaseModel):
    items: list[TagOut]


class ViewOut(Out):
    id: int
    name: str
    query: dict[str, Any] = Field(description="As the arguments of the desk's list")
    board: bool
    shared: bool


class ViewList(BaseModel):
    items: list[ViewOut]


def add(api: Api, parts: ApiParts) -> None:
    """`/lead-fields`, `/lost-reasons`, `/tags`, `/views`."""

    def fields(by: Actor) -> FieldList:
        rows = parts.desk.lead_field_rows(by.business_id)
        return FieldList(items=[FieldOut.model_validate(row) for row in rows])

    @api.on("GET", "/lead-fields", needs=Permission.VIEW, gives=FieldList)
    def list_lead_fields(by: Actor) -> FieldList:
        """Fields that the business has added to its leads, in their order."""
        return fields(by)

    @api.on(
        "POST",
        "/lead-fields",
        needs=Permission.SETUP,
        body=FieldNew,
        gives=FieldList,
        status=201,
        problems=("conflict",),
        names={"field_name": "name", "bidi": "name", "field_choices": "choices"},
    )
    def add_lead_field(by: Actor, body: FieldNew) -> FieldList:
        """Ask one more thing about every lead. Answers with all fields."""
        try:
            parts.edits.add_lead_field(by, body.name, body.kind, "\n".join(body.choices))
        except Unreadable as refusal:
            if str(refusal) == "field_taken":
                raise Problem("conflict", _TAKEN) from None
            raise
        return fields(by)

    @api.on("DELETE", "/lead-fields/<int:field_id>", needs=Permission.SETUP, gives=None)
    def remove_lead_field(by: Actor, field_id: int) -> None:
        """It is not asked any more; what stands in leads stays there."""
        parts.edits.remove_lead_field(by, field_id)

    @api.on("GET", "/lost-reasons", needs=Permission.VIEW, gives=Reasons)
    def list_lost_reasons(by: Actor) -> Reasons:
        """Why leads are lost."""
        return Reasons(items=list(parts.desk.lost_reasons(by.business_id)))

    @api.on(
        "PUT", "/lost-reasons", needs=Permission.SETUP, body=ReasonsNew, gives=Reasons, names={"lost_reasons": "items"}
    )
    def set_lost_reasons(by: Actor, body: ReasonsNew) -> Reasons:
        """Say why leads may be lost; these and no others."""
        parts.edits.set_lost_reasons(by, "\n".join(body.items))
        return Reasons(items=list(parts.desk.lost_reasons(by.business_id)))

    @api.on("GET", "/tags", needs=Permission.VIEW, gives=TagList)
    def list_tags(by: Actor) -> TagList:
        """The tags there are; one that no lead has disappears."""
        return TagList(items=[TagOut.model_validate(tag) for tag in parts.desk.tags(by.business_id)])

    @api.on("GET", "/views", needs=Permission.VIEW, gives=ViewList)
    def list_views(by: Actor) -> ViewList:
        """Filters kept under a name: those of whoever made the key, and what others share."""
        return ViewList(items=[ViewOut.model_validate(one) for one in parts.desk.views(by.business_id, by.user_id)])
