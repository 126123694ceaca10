"""Recordings and privacy: settings, recordings and their parts, legal holds, purges, suppressed numbers."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016_privacy"
down_revision = "0015_policy"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def _id(table: str, name: str = "id") -> tuple[sa.Column[Any], sa.PrimaryKeyConstraint]:
    return sa.Column(name, sa.Integer(), nullable=False), sa.PrimaryKeyConstraint(name, name=f"pk_{table}")


def _column(name: str, kind: Any, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

    def business() -> sa.Column[Any]:
        return _column("business_id", sa.Integer())

    op.create_table(
        "privacy_settings",
        *_id("privacy_settings", "business_id"),
        _column("record", sa.Boolean()),
        _column("notice", sa.String(400)),
        _column("refuse_key", sa.String(1)),
        _column("refused_words", sa.String(16)),
        _column("recordings_days", sa.Integer()),
        _column("transcripts_days", sa.Integer()),
        _column("leads_days", sa.Integer()),
        _column("hide_cards", sa.Boolean()),
        _column("hide_ids", sa.Boolean()),
        _column("hide_audio", sa.Boolean()),
        _moment("changed_at"),
        _belongs("privacy_settings", "business_id", "business"),
    )
    op.create_table(
        "recording",
        *_id("recording", "call_id"),
        business(),
        _column("token", sa.String(32)),
        _column("key", sa.LargeBinary(), nullable=True),
        _column("silences", json),
        _moment("created_at"),
        _moment("refused_at", nullable=True),
        _column("words", sa.String(16)),
        _moment("scrubbed_at", nullable=True),
        _belongs("recording", "call_id", "call"),
        _belongs("recording", "business_id", "business"),
        sa.UniqueConstraint("token", name="uq_recording_token"),
    )
    op.create_index("ix_recording_business_id_created_at", "recording", ["business_id", "created_at"])
    op.create_table(
        "recording_part",
        *_id("recording_part"),
        business(),
        _column("token", sa.String(32)),
        _column("stream", sa.Integer()),
        _column("at", sa.Integer()),
        _column("samples", sa.Integer(), nullable=True),
        _column("place", sa.String(8)),
        _column("peaks", sa.LargeBinary(), nullable=True),
        _column("silenced", sa.Integer()),
        _belongs("recording_part", "business_id", "business"),
        sa.UniqueConstraint("token", "stream", name="uq_recording_part_token_stream"),
    )
    op.create_table(
        "privacy_hold",
        *_id("privacy_hold", "contact_id"),
        business(),
        _column("reason", sa.String(400)),
        _column("by", sa.String(100)),
        _moment("at"),
        _belongs("privacy_hold", "contact_id", "contact"),
        _belongs("privacy_hold", "business_id", "business"),
    )
    op.create_table(
        "purge_run",
        *_id("purge_run"),
        business(),
        _moment("at"),
        _column("dry", sa.Boolean()),
        _column("counts", json),
        _belongs("purge_run", "business_id", "business"),
    )
    op.create_index("ix_purge_run_business_id_at", "purge_run", ["business_id", "at"])


def downgrade() -> None:
    for table in (
        "purge_run",
        "privacy_hold",
        "recording_part",
        "recording",
        "privacy_settings",
    ):
        op.drop_table(table)
