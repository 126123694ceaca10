"""The tables of working with leads and contacts: what is searched, who is who, what happened, views, files in and out.

contact -< channel_identity     each address a person is known by; unique in the business
   |------ contact_merge        two that were one: what moved, so that it can be undone
   '-----< activity             what happened, beside calls and tasks; any part may add rows
lead >-< tag                    lead_field, lead_setting: what this business asks about its leads
   '---< lead_value             what stands in its own fields, to be looked for
search_entry                    one of a lead, a contact or a call, as `finding` keeps its words
saved_view   import_job   export_job
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from moked.crm.models import Base, SafeText


class SearchEntry(Base):
    """The words of one lead, contact or call. Gone with its row; `tokens` are as `search` writes them."""

    __tablename__ = "search_entry"

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id", ondelete="CASCADE"), unique=True)
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), unique=True)
    call_id: Mapped[int | None] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), unique=True)
    tokens: Mapped[str]


class ChannelIdentity(Base):
    """An address of a person. `scheme`: 'tel' (E.164), 'lid' (WhatsApp's own), 'email' and whatever channels bring."""

    __tablename__ = "channel_identity"
    __table_args__ = (UniqueConstraint("business_id", "scheme", "value"), Index(None, "contact_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    scheme: Mapped[str] = mapped_column(SafeText(16))
    value: Mapped[str] = mapped_column(SafeText(200))
    verified_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class ContactMerge(Base):
    """`gone_id` became `kept_id`. `moved`: the ids of what moved, by table; `before`: what the merge overwrote."""

    __tablename__ = "contact_merge"
    __table_args__ = (Index(None, "kept_id"), Index(None, "gone_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    kept_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    gone_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    who: Mapped[str] = mapped_column(SafeText(100))
    at: Mapped[datetime]
    moved: Mapped[dict[str, Any]] = mapped_column(default=dict)
    before: Mapped[dict[str, Any]] = mapped_column(default=dict)
    undone_at: Mapped[datetime | None]


class Activity(Base):
    """Something that happened with a person, for the timeline; see `activity`. `link` is a path of the desk, or ''."""

    __tablename__ = "activity"
    __table_args__ = (Index(None, "contact_id", "at"), Index(None, "lead_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id", ondelete="SET NULL"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(SafeText(32))
    who: Mapped[str] = mapped_column(SafeText(100), default="")
    text: Mapped[str] = mapped_column(default="")
    link: Mapped[str] = mapped_column(SafeText(200), default="")
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Tag(Base):
    __tablename__ = "tag"
    __table_args__ = (UniqueConstraint("business_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(SafeText(40))


class LeadTag(Base):
    __tablename__ = "lead_tag"
    __table_args__ = (Index(None, "tag_id", "lead_id"),)

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id", ondelete="CASCADE"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("tag.id", ondelete="CASCADE"), primary_key=True)


class LeadField(Base):
    """A field of the business's own: `name` is also its key in `lead.extra`, where its text stands (`lead_fields`)."""

    __tablename__ = "lead_field"
    __table_args__ = (UniqueConstraint("business_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(SafeText(60))
    kind: Mapped[str] = mapped_column(SafeText(16))
    choices: Mapped[list[Any]] = mapped_column(default=list)
    position: Mapped[int]


class LeadValue(Base):
    """What a lead has in a field of the business's own, as `lead_values` writes it. `number`: also a date's day."""

    __tablename__ = "lead_value"
    __table_args__ = (Index(None, "field_id", "text", "lead_id"), Index(None, "field_id", "number", "lead_id"))

    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id", ondelete="CASCADE"), primary_key=True)
    field_id: Mapped[int] = mapped_column(ForeignKey("lead_field.id", ondelete="CASCADE"), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    text: Mapped[str] = mapped_column(SafeText(100))
    number: Mapped[float | None]


class LeadSetting(Base):
    """What a business has chosen about its leads. No row: `lead_fields.LOST_REASONS`."""

    __tablename__ = "lead_setting"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    lost_reasons: Mapped[list[Any]] = mapped_column(default=list)


class SavedView(Base):
    """Filters of the leads under a name. `query`: the arguments of the list's address; `board`: it is the board's."""

    __tablename__ = "saved_view"
    __table_args__ = (Index(None, "business_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(SafeText(60))
    query: Mapped[dict[str, Any]] = mapped_column(default=dict)
    board: Mapped[bool] = mapped_column(default=False)
    shared: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


class ImportJob(Base):
    """A file of contacts on its way in. `data`: its text, UTF-8, compressed; NULL once it is done with.

    `made`: what it created and changed, for undoing. Whole from `applied_at` on; before it nothing of it exists.
    """

    __tablename__ = "import_job"
    __table_args__ = (Index(None, "business_id", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(SafeText(200))
    created_at: Mapped[datetime]
    about: Mapped[dict[str, Any]] = mapped_column(default=dict)
    data: Mapped[bytes | None] = mapped_column(LargeBinary())
    applied_at: Mapped[datetime | None]
    undone_at: Mapped[datetime | None]
    made: Mapped[dict[str, Any]] = mapped_column(default=dict)


class ExportJob(Base):
    """A file that is asked for, written by a worker, and kept for some days. `state`: waiting, ready, failed."""

    __tablename__ = "export_job"
    __table_args__ = (Index(None, "business_id", "created_at"), Index(None, "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(SafeText(16))
    format: Mapped[str] = mapped_column(SafeText(8))
    query: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(SafeText(16))
    tries: Mapped[int] = mapped_column(default=0)
    taken_until: Mapped[datetime | None]
    rows: Mapped[int] = mapped_column(default=0)
    data: Mapped[bytes | None] = mapped_column(LargeBinary())
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
