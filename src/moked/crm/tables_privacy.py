"""The tables of recordings and privacy; see `models` for the rules all tables keep.

business -- privacy_settings       what the business decided; no row: the defaults of `privacy_rules`
    |    -< purge_run              what the nightly purge deleted, or would have
call -- recording -< recording_part    one part a media stream; its audio is a file or an object of `recording.key`
contact -- privacy_hold            legal hold: neither purge nor erasure touches this contact
lead -< sealed_field               what must not be readable in the lead itself
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from moked.crm.models import Base, SafeText


class PrivacySettings(Base):
    """One business's choices. `notice` '' is the standard text, `refuse_key` '' none; days of 0 keep for ever."""

    __tablename__ = "privacy_settings"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    record: Mapped[bool]
    notice: Mapped[str] = mapped_column(SafeText(400))
    refuse_key: Mapped[str] = mapped_column(SafeText(1))
    refused_words: Mapped[str] = mapped_column(SafeText(16))  # privacy_rules.RefusedWords
    recordings_days: Mapped[int]
    transcripts_days: Mapped[int]
    leads_days: Mapped[int]
    hide_cards: Mapped[bool]
    hide_ids: Mapped[bool]
    hide_audio: Mapped[bool]
    changed_at: Mapped[datetime]


class Recording(Base):
    """A call's recording. `key` is its own, sealed with DATA_KEY: without it (NULL) no copy of the audio opens any
    more.

    `token` names its files. `silences`: [channel, from_ms, to_ms] that nobody may hear, 0 is the caller; then the
    number of the turn of the caller's it was made for, if it was. There never are fewer than there were. A row with
    `refused_at` stands for a caller who is not recorded, whether or not anything ever was; `words` says what of their
    words is kept. `scrubbed_at`: the database's freed pages have been cleaned since the call ended.
    """

    __tablename__ = "recording"
    __table_args__ = (Index(None, "business_id", "created_at"),)

    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    token: Mapped[str] = mapped_column(SafeText(32), unique=True)
    key: Mapped[bytes | None] = mapped_column(LargeBinary())
    silences: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]
    refused_at: Mapped[datetime | None]
    words: Mapped[str] = mapped_column(SafeText(16), default="")
    scrubbed_at: Mapped[datetime | None]


class RecordingPart(Base):
    """What one media stream recorded: `samples` from call sample `at` on; `samples` NULL while it is written.

    `place` 'disk' is a file on the host that wrote it, 's3' an object. `peaks`: the loudest of each 100 ms, 0..255,
    caller and agent in turn. `silenced`: how many of the recording's silences the stored audio has. No key to
    `recording`, whose row may go before the object has: `token` names both.
    """

    __tablename__ = "recording_part"
    __table_args__ = (UniqueConstraint("token", "stream"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    token: Mapped[str] = mapped_column(SafeText(32))
    stream: Mapped[int]
    at: Mapped[int]
    samples: Mapped[int | None]
    place: Mapped[str] = mapped_column(SafeText(8))
    peaks: Mapped[bytes | None] = mapped_column(LargeBinary())
    silenced: Mapped[int] = mapped_column(default=0)


class PrivacyHold(Base):
    """Somebody said why this contact's data must stay for now."""

    __tablename__ = "privacy_hold"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    reason: Mapped[str] = mapped_column(SafeText(400))
    by: Mapped[str] = mapped_column(SafeText(100))
    at: Mapped[datetime]


class PurgeRun(Base):
    """One run of the retention clock. `counts` by what: calls' recordings, transcripts, leads, contacts, provider's."""

    __tablename__ = "purge_run"
    __table_args__ = (Index(None, "business_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    dry: Mapped[bool]
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
