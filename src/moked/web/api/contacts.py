"""Contacts: the people who called."""

from pydantic import Field

from moked.crm.audit import Actor
from moked.crm.models import Contact
from moked.crm.permissions import Permission
from moked.crm.versions import version
from moked.web.api.layer import Answer, Api
from moked.web.api.schemas import In, Moment, Out, Page, PageQuery, page_of
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
