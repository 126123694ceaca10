"""Leads: lists, one lead, and what people do with it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from moked.crm.audit import Actor
from moked.crm.desk import LeadFilter
from moked.crm.edits import Unreadable
from moked.crm.edits_adding import Again, Erased, NewLead, OpenLead
from moked.crm.lead_fields import MOST_VALUE
from moked.crm.lead_values import OwnFilter
from moked.crm.leads import Origin, Stage
from moked.crm.models import Lead, TaskKind
from moked.crm.permissions import Permission
from moked.crm.versions import version
from moked.web.api import cursors
from moked.web.api.layer import Answer, Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import Id, In, Moment, Out, Page, PageQuery, Since
from moked.web.api.tasks import TaskOut, task_answer
from moked.web.parts import ApiParts

Shekels = Annotated[int, Field(ge=0, le=MOST_VALUE)]
TagName = Annotated[str, Field(min_length=1, max_length=40, pattern="^[^,]*$")]
_CONDITION: Final = "[0-9]{1,9}(=|~|>=|<=)[^;]*"
_PARTS: Final = re.compile("([0-9]+)(=|~|>=|<=)([^;]*)(?:;|$)")
_SIGNS: Final = {"=": "text", "~": "has", ">=": "least", "<=": "most"}


class LeadQuery(PageQuery):
    stage: Stage | None = None
    owner: Id | None = Field(None, description="Id of a user; 0: leads nobody takes care of")
    contact_id: Id | None = None
    tag: Id | None = Field(None, description="Id of a tag")
    origin: Origin | None = None
    least: Id | None = Field(None, description="Worth this many shekels or more")
    most: Id | None = Field(None, description="Worth this many shekels or less")
    own: str = Field(
        "",
        description="Conditions on fields of the business's own, by their ids (`/lead-fields`), between semicolons: "
        "`7=חיפה` is exactly that, `7~חיפ` has it in it, `8>=1000` and `8<=2026-12-31` are bounds of numbers and "
        "dates, `7=` says that nothing stands there",
        max_length=500,
        pattern=f"^({_CONDITION}(;{_CONDITION}){{0,9}})?$",
    )
    q: str = Field("", description="Words of the name, need or summary, or digits of the number", max_length=100)
    since: date | None = Field(None, description="Came in on this day of the business or later")
    until: date | None = Field(None, description="Came in on this day of the business or earlier")
    updated_since: Since | None = Field(None, description="Changed at this moment or later")
    order: Literal["newest", "updated"] = Field(
        "newest", description="`updated`: the one that changed longest ago first; follow with it to miss no change"
    )

    def conditions(self) -> tuple[OwnFilter, ...]:
        given: dict[int, dict[str, str]] = {}
        for field, sign, value in _PARTS.findall(self.own):
            given.setdefault(int(field), {})[_SIGNS[sign]] = value.strip()
        return tuple(OwnFilter(field_id=field, **wanted) for field, wanted in given.items())


class LeadOut(Out):
    id: int
    contact_id: int
    owner_id: int | None
    source_call_sid: str
    stage: Stage
    origin: Origin
    name: str
    phone: str = Field(description="E.164, or empty")
    confirmed: bool = Field(description="The number was read back and agreed to")
    need: str
    best_time: str
    summary: str
    value: int | None = Field(description="What it may be worth, in shekels")
    lost_reason: str
    tags: list[str] = []
    extra: dict[str, Any] = Field(description="Fields of the business's own, and details of its script, by name")
    sources: dict[str, Any] = Field(
        description="By field: the call and turn it comes from, the words, and who wrote it"
    )
    notes: list[Any]
    created_at: Moment
    updated_at: Moment


class LeadEdit(In):
    """Only what is given changes; what a person wrote, no later call changes."""

    name: str | None = Field(None, max_length=200)
    phone: str | None = Field(None, max_length=32, description="An Israeli number, or one with its country (+...)")
    need: str | None = Field(None, max_length=4000)
    best_time: str | None = Field(None, max_length=200)
    summary: str | None = Field(None, max_length=4000)
    value: Shekels | None = Field(None, description="What it may be worth; null: not known")
    extra: dict[str, str] = Field(
        {}, description="Fields of the business's own, or details the lead has", max_length=50
    )

    @model_validator(mode="before")
    @classmethod
    def _no_null(cls, given: Any) -> Any:
        if isinstance(given, dict) and any(given[name] is None for name in given if name != "value"):
            raise ValueError("null is no value; send an empty text to clear a field")
        return given

    def values(self) -> dict[str, str]:
        plain = self.model_dump(exclude_unset=True, exclude={"extra", "value"})
        if "value" in self.model_fields_set:
            plain["value"] = "" if self.value is None else str(self.value)
        return {**plain, **{f"extra.{name}": value for name, value in self.extra.items()}}


class LeadNew(In):
    """`phone` or `contact_id` says who; the contact of a number is found, or made."""

    phone: str = Field("", max_length=32, description="An Israeli number, or one with its country (+...)")
    contact_id: Id | None = None
    name: str = Field("", max_length=200, description="Empty: the contact's")
    need: str = Field("", max_length=4000)
    best_time: str = Field("", max_length=200)
    summary: str = Field("", max_length=4000)
    value: Shekels | None = Field(None, description="What it may be worth")
    extra: dict[str, str] = Field({}, description="Fields of the business's own", max_length=50)
    tags: list[TagName] = Field([], max_length=20)
    owner_id: Id | None = Field(None, description="Who takes care of it; needs the scope `assign`")
    note: str = Field("", max_length=4000)
    if_open: Again = Field(
        Again.JOIN,
        description="Where the contact has an open lead: `join` it, as a second call does (200), `add` another one, or "
        "`refuse` (409)",
    )
    turned_to_us: bool = Field(
        False,
        description="They turned to the business themselves just now: who asked to be forgotten is taken in again",
    )

    @model_validator(mode="after")
    def _somebody(self) -> "LeadNew":
        if bool(self.phone.strip()) == (self.contact_id is not None):
            raise ValueError("say who: either `phone` or `contact_id`")
        return self

    def wanted(self) -> NewLead:
        names = ("name", "need", "best_time", "summary")
        fields = {name: getattr(self, name) for name in names} | {
            f"extra.{key}": one for key, one in self.extra.items()
        }
        return NewLead(
            phone=self.phone.strip(),
            contact_id=self.contact_id,
            fields=fields,
            value=self.value,
            tags=self.tags,
            owner_id=self.owner_id,
            note=self.note,
            again=self.if_open,
            turned=self.turned_to_us,
        )


class LeadMove(In):
    stage: Stage
    lost_reason: str = Field("", max_length=100, description="For `lost`: one of `/lost-reasons`")


class LeadTags(In):
    tags: list[TagName] = Field(max_length=20, description="All of them; what is not here is taken off")


class LeadOwner(In):
    user_id: Id | None = Field(description="Who takes care of it; null: nobody yet")


class LeadNote(In):
    text: str = Field(min_length=1, max_length=4000)


class LeadTask(In):
    due_at: Since = Field(description="At most two years from now")
    note: str = Field("", max_length=4000)
    kind: TaskKind = TaskKind.CALLBACK
    assignee_id: Id | None = Field(None, description="Whose it is; null: whoever is there")


def add(api: Api, parts: ApiParts) -> None:
    """`/leads`, `/leads/<id>` and its changes."""

    def found(by: Actor, lead_id: int) -> Answer:
        lead = parts.desk.row(Lead, by.business_id, lead_id)
        if lead is None:
            raise LookupError
        return Answer(shown([lead])[0], version(lead))

    def shown(rows: Sequence[Lead]) -> list[LeadOut]:
        tags = parts.desk.tags_of([row.id for row in rows])
        return [LeadOut.model_validate(row).model_copy(update={"tags": list(tags.get(row.id, ()))}) for row in rows]

    @api.on("GET", "/leads", needs=Permission.VIEW, query=LeadQuery, gives=Page[LeadOut])
    def list_leads(by: Actor, query: LeadQuery) -> Page[LeadOut]:
        """Leads, the newest first."""
        wanted = LeadFilter(
            stage=query.stage,
            owner=query.owner,
            tag=query.tag,
            origin=query.origin,
            least=query.least,
            most=query.most,
            text=query.q,
            since=query.since,
            until=query.until,
            own=query.conditions(),
        )
        leads = parts.desk.lead_list(
            by.business_id,
            wanted,
            by.timezone,
            contact_id=query.contact_id,
            updated_since=query.updated_since,
            by_update=query.order == "updated",
            after=query.after,
            limit=query.limit,
        )
        return Page[LeadOut](items=shown(leads.rows), next=cursors.write(leads.after))

    @api.on(
        "POST",
        "/leads",
        needs=Permission.EDIT,
        body=LeadNew,
        gives=LeadOut,
        status=201,
        others={200: "It has joined the open lead of this contact"},
        problems=("conflict", "not_found"),
        names={"owner": "owner_id", "field": "extra"},
    )
    def add_lead(by: Actor, body: LeadNew) -> Answer:
        """Add a lead that no call has brought.

        A number has one contact. What is given stands as a person's word, which no later call changes. Where it joins
        an open lead, a second need stands beside the first, tags are added, and what is not given stays.
        """
        if body.owner_id is not None and not by.may(Permission.ASSIGN):
            raise Problem("forbidden", f"`owner_id` needs a key with the scope `{Permission.ASSIGN.value}`.")
        try:
            lead_id, new = parts.edits.add_lead(by, body.wanted())
        except OpenLead as known:
            raise Problem("conflict", f"This contact has an open lead: {known.lead_id}.") from None
        except Erased:
            told = "Whoever has this number asked to be forgotten. If they turned to you again, say `turned_to_us`."
            raise Problem("conflict", told) from None
        except Unreadable:
            raise
        except ValueError as error:
            raise _no_field(error) from None
        return replace(found(by, lead_id), location=f"/leads/{lead_id}", status=0 if new else 200)

    @api.on("GET", "/leads/<int:lead_id>", needs=Permission.VIEW, gives=LeadOut, versioned=True)
    def get_lead(by: Actor, lead_id: int) -> Answer:
        """One lead."""
        return found(by, lead_id)

    @api.on(
        "PATCH",
        "/leads/<int:lead_id>",
        needs=Permission.EDIT,
        body=LeadEdit,
        gives=LeadOut,
        versioned=True,
        names={"field": "extra"},
    )
    def edit_lead(by: Actor, lead_id: int, body: LeadEdit) -> Answer:
        """Change fields of a lead."""
        try:
            parts.edits.set_fields(by, lead_id, body.values())
        except Unreadable:
            raise
        except ValueError as error:
            raise _no_field(error) from None
        return found(by, lead_id)

    @api.on(
        "POST",
        "/leads/<int:lead_id>/move",
        needs=Permission.EDIT,
        body=LeadMove,
        gives=LeadOut,
        versioned=True,
        problems=("illegal_move",),
    )
    def move_lead(by: Actor, lead_id: int, body: LeadMove) -> Answer:
        """Move a lead to another stage."""
        parts.edits.move(by, lead_id, body.stage, body.lost_reason)
        return found(by, lead_id)

    @api.on("PUT", "/leads/<int:lead_id>/tags", needs=Permission.EDIT, body=LeadTags, gives=LeadOut, versioned=True)
    def tag_lead(by: Actor, lead_id: int, body: LeadTags) -> Answer:
        """Say which tags a lead has; unknown ones are made."""
        parts.edits.set_tags(by, lead_id, ",".join(body.tags))
        return found(by, lead_id)

    @api.on(
        "PUT",
        "/leads/<int:lead_id>/owner",
        needs=Permission.ASSIGN,
        body=LeadOwner,
        gives=LeadOut,
        versioned=True,
        names={"owner": "user_id"},
    )
    def assign_lead(by: Actor, lead_id: int, body: LeadOwner) -> Answer:
        """Say who takes care of a lead."""
        parts.edits.assign(by, lead_id, body.user_id)
        return found(by, lead_id)

    @api.on(
        "POST",
        "/leads/<int:lead_id>/notes",
        needs=Permission.EDIT,
        body=LeadNote,
        gives=LeadOut,
        versioned=True,
        status=201,
    )
    def note_lead(by: Actor, lead_id: int, body: LeadNote) -> Answer:
        """Add a note to a lead."""
        parts.edits.add_note(by, lead_id, body.text)
        return found(by, lead_id)

    @api.on(
        "POST",
        "/leads/<int:lead_id>/tasks",
        needs=Permission.EDIT,
        body=LeadTask,
        gives=TaskOut,
        status=201,
        names={"due": "due_at", "owner": "assignee_id"},
    )
    def add_task(by: Actor, lead_id: int, body: LeadTask) -> Answer:
        """Promise a call-back, or add another task."""
        due = body.due_at.isoformat()
        task_id = parts.edits.add_task(by, lead_id, body.note, due, kind=body.kind, assignee=body.assignee_id)
        answer = task_answer(parts, by, task_id)
        return Answer(answer.model, answer.version, f"/tasks/{task_id}")


def _no_field(error: ValueError) -> Problem:
    return Problem("invalid", errors=[{"where": "body.extra", "what": str(error)}])
