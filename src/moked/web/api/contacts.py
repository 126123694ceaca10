"""Contacts: the people who called."""

from dataclasses import replace

from pydantic import BaseModel, Field

from moked.channels.policy import Purpose
from moked.crm.audit import Actor
from moked.crm.edits import Unreadable
from moked.crm.models import Contact
from moked.crm.permissions import Permission
from moked.crm.versions import version
from moked.web.api.layer import Answer, Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import Id, In, Moment, Out, Page, PageQuery, page_of
from moked.web.parts import ApiParts


class ContactQuery(PageQuery):
    q: str = Field("", description="Words of the name, or digits of the number", max_length=100)


class ContactOut(Out):
    id: int
    phone: str | None = Field(description="E.164; null where the number was withheld")
    name: str
    locked: bool = Field(description="A person wrote the name: no call changes it")
    created_at: Moment
    updated_at: Moment


class ContactEdit(In):
    name: str = Field(min_length=1, max_length=200)


class ContactNew(In):
    phone: str = Field(max_length=32, description="An Israeli number, or one with its country (+...)")
    name: str = Field(min_length=1, max_length=200)


class ContactPhone(In):
    phone: str = Field(max_length=32, description="An Israeli number, or one with its country (+...)")


class ContactNote(In):
    text: str = Field(min_length=1, max_length=4000)


class ContactMerge(In):
    contact_id: Id = Field(description="Who becomes this contact")


class Merged(BaseModel):
    merge_id: int = Field(description="With it the merge can be undone for 30 days")


class ConsentOut(Out):
    purpose: Purpose
    channel: str = Field(description="`any`: all of them")
    given_at: Moment | None = Field(description="null: they only refused")
    revoked_at: Moment | None
    expires_at: Moment | None
    how: str = Field(description="`call`, `message`, or `person`: somebody of the business wrote it down")
    call_sid: str
    offset_ms: int | None = Field(description="Where in the call")
    text: str


class Consents(BaseModel):
    do_not_contact: bool = Field(description="They want to be left alone, on every channel")
    items: list[ConsentOut]


class ConsentNew(In):
    purpose: Purpose
    channel: str = Field(max_length=16, description="Such as `whatsapp`, `sms`, `email`, `phone`")
    text: str = Field(min_length=1, max_length=300, description="The proof: where and how they agreed")


def add(api: Api, parts: ApiParts) -> None:
    """`/contacts`, `/contacts/<id>`."""

    def found(by: Actor, contact_id: int) -> Answer:
        contact = parts.desk.row(Contact, by.business_id, contact_id)
        if contact is None:
            raise LookupError
        return Answer(ContactOut.model_validate(contact), version(contact))

    @api.on("GET", "/contacts", needs=Permission.VIEW, query=ContactQuery, gives=Page[ContactOut])
    def list_contacts(by: Actor, query: ContactQuery) -> Page[ContactOut]:
        """Contacts, the newest first."""
        contacts = parts.desk.contact_list(by.business_id, text=query.q, after=query.after, limit=query.limit)
        return page_of(ContactOut, contacts)

    @api.on("GET", "/contacts/<int:contact_id>", needs=Permission.VIEW, gives=ContactOut, versioned=True)
    def get_contact(by: Actor, contact_id: int) -> Answer:
        """One contact."""
        return found(by, contact_id)

    @api.on(
        "PATCH", "/contacts/<int:contact_id>", needs=Permission.EDIT, body=ContactEdit, gives=ContactOut, versioned=True
    )
    def edit_contact(by: Actor, contact_id: int, body: ContactEdit) -> Answer:
        """Rename a contact."""
        parts.edits.rename_contact(by, contact_id, body.name)
        return found(by, contact_id)

    @api.on(
        "POST",
        "/contacts",
        needs=Permission.EDIT,
        body=ContactNew,
        gives=ContactOut,
        status=201,
        others={200: "There is one of this number already; it keeps its name"},
    )
    def add_contact(by: Actor, body: ContactNew) -> Answer:
        """Add a contact, or find the one of this number."""
        made, new = parts.edits.add_contact(by, body.name, body.phone)
        return replace(found(by, made), location=f"/contacts/{made}", status=0 if new else 200)

    @api.on(
        "POST",
        "/contacts/<int:contact_id>/phones",
        needs=Permission.EDIT,
        body=ContactPhone,
        gives=ContactOut,
        versioned=True,
        problems=("conflict",),
    )
    def add_phone(by: Actor, contact_id: int, body: ContactPhone) -> Answer:
        """Add another number of this person."""
        try:
            parts.edits.add_phone(by, contact_id, body.phone)
        except Unreadable as refusal:
            if str(refusal) == "phone_taken":
                raise Problem("conflict", "This number is somebody else's: merge the two contacts.") from None
            raise
        return found(by, contact_id)

    @api.on(
        "POST",
        "/contacts/<int:contact_id>/notes",
        needs=Permission.EDIT,
        body=ContactNote,
        gives=ContactOut,
        versioned=True,
        status=201,
        names={"note": "text"},
    )
    def note_contact(by: Actor, contact_id: int, body: ContactNote) -> Answer:
        """Add a note to a contact."""
        parts.edits.note_contact(by, contact_id, body.text)
        return found(by, contact_id)

    @api.on(
        "POST",
        "/contacts/<int:contact_id>/merge",
        needs=Permission.EDIT,
        body=ContactMerge,
        gives=Merged,
        status=201,
        problems=("conflict",),
    )
    def merge_contacts(by: Actor, contact_id: int, body: ContactMerge) -> Merged:
        """Two contacts are one person: all that the other has moves here."""
        try:
            return Merged(merge_id=parts.edits.merge_contacts(by, contact_id, body.contact_id))
        except Unreadable:
            raise Problem("conflict", "They are the same already, or one of them was merged away.") from None

    @api.on("POST", "/merges/<int:merge_id>/undo", needs=Permission.EDIT, gives=ContactOut, problems=("conflict",))
    def undo_merge(by: Actor, merge_id: int) -> Answer:
        """They are two people after all; answers with who had been merged away."""
        try:
            gone = parts.edits.unmerge_contacts(by, merge_id)
        except Unreadable:
            raise Problem("conflict", "It was undone, is older than 30 days, or another merge came after it.") from None
        return found(by, gone)

    def consents_of(by: Actor, contact_id: int) -> Consents:
        known = parts.outreach.of_contact(by.business_id, contact_id)
        if known is None:
            raise LookupError
        rows = [ConsentOut.model_validate(row) for row in known.consents]
        return Consents(do_not_contact=known.suppressed, items=rows)

    @api.on("GET", "/contacts/<int:contact_id>/consents", needs=Permission.VIEW, gives=Consents)
    def list_consents(by: Actor, contact_id: int) -> Consents:
        """What this person has agreed to, and whether they want to be left alone; the latest first."""
        return consents_of(by, contact_id)

    @api.on(
        "POST",
        "/contacts/<int:contact_id>/consents",
        needs=Permission.EDIT,
        body=ConsentNew,
        gives=Consents,
        status=201,
        names={"consent": "channel", "proof": "text"},
    )
    def give_consent(by: Actor, contact_id: int, body: ConsentNew) -> Consents:
        """Write down that they agreed, outside of a call. It ends an earlier wish to be left alone."""
        parts.outreach.give_consent(by, contact_id, body.purpose.value, body.channel, body.text)
        return consents_of(by, contact_id)

    @api.on("PUT", "/contacts/<int:contact_id>/do-not-contact", needs=Permission.EDIT, gives=Consents)
    def do_not_contact(by: Actor, contact_id: int) -> Consents:
        """They want to be left alone: every consent ends, and nothing is sent and nobody is called any more."""
        parts.outreach.revoke(by, contact_id)
        return consents_of(by, contact_id)
