"""Written conversations: messages, what sending them needs, the accounts that carry them and their keys."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014_whatsapp"
down_revision = "0009_live"
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
    with op.batch_alter_table("outbound_message") as table:
        table.add_column(sa.Column("template_values", json, nullable=False, server_default="[]"))
        table.add_column(sa.Column("reply", sa.String(32), nullable=False, server_default=""))
        table.add_column(_moment("first_at", nullable=True))
        table.add_column(_moment("reported_at", nullable=True))
    with op.batch_alter_table("outbound_message") as table:
        table.alter_column("template_values", server_default=None)
        table.alter_column("reply", server_default=None)
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
    for table in ("whatsapp_auth", "channel_lease", "channel_account", "message", "conversation"):
        op.drop_table(table)
    with op.batch_alter_table("outbound_message") as changed:
        for column in ("reported_at", "first_at", "reply", "template_values"):
            changed.drop_column(column)
