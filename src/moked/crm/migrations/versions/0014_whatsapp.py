"""Written conversations: addresses, messages, what is sent, the accounts that carry it and their keys."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014_whatsapp"
down_revision = "0007_access"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _text(name: str, length: int | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def _belongs(table: str, column: str, to: str, *, gone: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete=gone)


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "contact_identity",
        _number("id"),
        _number("business_id"),
        _number("contact_id"),
        _text("scheme", 16),
        _text("value", 128),
        _moment("verified_at", nullable=True),
        _belongs("contact_identity", "business_id", "business"),
        _belongs("contact_identity", "contact_id", "contact"),
        sa.PrimaryKeyConstraint("id", name="pk_contact_identity"),
        sa.UniqueConstraint("business_id", "scheme", "value", name="uq_contact_identity_business_id_scheme_value"),
    )
    op.create_index("ix_contact_identity_contact_id", "contact_identity", ["contact_id"])
    op.create_table(
        "conversation",
        _number("id"),
        _number("business_id"),
        _number("contact_id"),
        _number("lead_id", nullable=True),
        _number("taken_by", nullable=True),
        _text("channel", 32),
        _text("address", 160),
        _number("unread"),
        sa.Column("wants_person", sa.Boolean(), nullable=False),
        _number("talk"),
        _number("answered_id"),
        sa.Column("agent", json, nullable=True),
        _moment("last_in_at", nullable=True),
        _moment("last_at"),
        _moment("created_at"),
        _belongs("conversation", "business_id", "business"),
        _belongs("conversation", "contact_id", "contact"),
        _belongs("conversation", "lead_id", "lead", gone="SET NULL"),
        _belongs("conversation", "taken_by", "user_account", gone="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_conversation"),
        sa.UniqueConstraint(
            "business_id", "contact_id", "channel", name="uq_conversation_business_id_contact_id_channel"
        ),
    )
    op.create_index("ix_conversation_business_id_last_at", "conversation", ["business_id", "last_at"])
    op.create_table(
        "outbound_message",
        _number("id"),
        _number("business_id"),
        _number("contact_id"),
        _text("channel", 32),
        _text("to", 160),
        _text("text"),
        sa.Column("template", json, nullable=False),
        _text("purpose", 32),
        _text("key", 128),
        _text("state", 32),
        _text("reason", 200),
        _text("provider_id", 128),
        _number("attempts"),
        _moment("not_before"),
        _moment("created_at"),
        _moment("sent_at", nullable=True),
        _belongs("outbound_message", "business_id", "business"),
        _belongs("outbound_message", "contact_id", "contact"),
        sa.PrimaryKeyConstraint("id", name="pk_outbound_message"),
        sa.UniqueConstraint("key", name="uq_outbound_message_key"),
    )
    op.create_index(
        "ix_outbound_message_channel_state_not_before", "outbound_message", ["channel", "state", "not_before"]
    )
    op.create_index("ix_outbound_message_business_id_created_at", "outbound_message", ["business_id", "created_at"])
    op.create_index("ix_outbound_message_provider_id", "outbound_message", ["provider_id"])
    op.create_table(
        "message",
        _number("id"),
        _number("business_id"),
        _number("conversation_id"),
        _number("outbound_id", nullable=True),
        _text("channel", 32),
        _text("provider_id", 128),
        sa.Column("inbound", sa.Boolean(), nullable=False),
        _text("author", 100),
        _text("kind", 32),
        _text("text"),
        _text("raw"),
        _number("talk"),
        _moment("at"),
        _belongs("message", "business_id", "business"),
        _belongs("message", "conversation_id", "conversation"),
        _belongs("message", "outbound_id", "outbound_message"),
        sa.PrimaryKeyConstraint("id", name="pk_message"),
        sa.UniqueConstraint("business_id", "channel", "provider_id", name="uq_message_business_id_channel_provider_id"),
    )
    op.create_index("ix_message_conversation_id_id", "message", ["conversation_id", "id"])
    op.create_table(
        "channel_account",
        _number("business_id"),
        _text("channel", 32),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        _text("pair_phone", 32),
        sa.Column("forget", sa.Boolean(), nullable=False),
        _number("asked"),
        _text("state", 32),
        _text("error", 64),
        _text("qr", 600),
        _text("code", 16),
        _text("account", 64),
        _text("version", 32),
        sa.Column("counters", json, nullable=False),
        _moment("changed_at"),
        _belongs("channel_account", "business_id", "business"),
        sa.PrimaryKeyConstraint("business_id", "channel", name="pk_channel_account"),
    )
    op.create_table(
        "channel_lease",
        _number("business_id"),
        _text("channel", 32),
        _text("owner", 64),
        _moment("expires_at"),
        _belongs("channel_lease", "business_id", "business"),
        sa.PrimaryKeyConstraint("business_id", "channel", name="pk_channel_lease"),
    )
    op.create_table(
        "whatsapp_auth",
        _number("business_id"),
        _text("category", 64),
        _text("key_id", 200),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        _moment("updated_at"),
        _belongs("whatsapp_auth", "business_id", "business"),
        sa.PrimaryKeyConstraint("business_id", "category", "key_id", name="pk_whatsapp_auth"),
    )


def downgrade() -> None:
    for table in (
        "whatsapp_auth",
        "channel_lease",
        "channel_account",
        "message",
        "outbound_message",
        "conversation",
        "contact_identity",
    ):
        op.drop_table(table)
