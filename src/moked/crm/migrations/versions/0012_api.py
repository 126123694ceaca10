"""Keys of the API, repeated answers, webhooks out, numbers of businesses, sealed second factors."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012_api"
down_revision = "0008_handover"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "business_number",
        sa.Column("number", sa.String(32), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        _moment("created_at"),
        _belongs("business_number", "business_id", "business"),
        sa.PrimaryKeyConstraint("number", name="pk_business_number"),
    )
    op.create_index("ix_business_number_business_id", "business_number", ["business_id"])
    op.create_table(
        "api_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("scopes", json, nullable=False),
        _moment("created_at"),
        _moment("expires_at", nullable=True),
        _moment("used_at", nullable=True),
        _moment("revoked_at", nullable=True),
        _belongs("api_key", "business_id", "business"),
        _belongs("api_key", "user_id", "user_account"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("key_hash", name="uq_api_key_key_hash"),
    )
    op.create_index("ix_api_key_business_id", "api_key", ["business_id"])
    op.create_table(
        "api_reply",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", json, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        _moment("created_at"),
        _belongs("api_reply", "business_id", "business"),
        _belongs("api_reply", "key_id", "api_key"),
        sa.PrimaryKeyConstraint("id", name="pk_api_reply"),
        sa.UniqueConstraint("key_id", "key", name="uq_api_reply_key_id_key"),
    )
    op.create_index("ix_api_reply_created_at", "api_reply", ["created_at"])
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("events", json, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("old_secret", sa.LargeBinary(), nullable=True),
        _moment("old_until", nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        _moment("failing_since", nullable=True),
        sa.Column("disabled_why", sa.String(32), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        _belongs("webhook_endpoint", "business_id", "business"),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_endpoint"),
    )
    op.create_index("ix_webhook_endpoint_business_id", "webhook_endpoint", ["business_id"])
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("payload", json, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("due_at"),
        _moment("created_at"),
        _moment("delivered_at", nullable=True),
        sa.Column("log", json, nullable=False),
        _belongs("webhook_delivery", "business_id", "business"),
        _belongs("webhook_delivery", "endpoint_id", "webhook_endpoint"),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_delivery"),
    )
    op.create_index(
        "ix_webhook_delivery_business_id_endpoint_id_id", "webhook_delivery", ["business_id", "endpoint_id", "id"]
    )
    op.create_index("ix_webhook_delivery_state_due_at", "webhook_delivery", ["state", "due_at"])
    op.create_index("ix_webhook_delivery_created_at", "webhook_delivery", ["created_at"])
    for table in ("lead", "contact"):
        op.create_index(f"ix_{table}_business_id_id", table, ["business_id", "id"])
    op.add_column("user_account", sa.Column("totp_sealed", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("user_account", "totp_sealed")
    for table in ("lead", "contact"):
        op.drop_index(f"ix_{table}_business_id_id", table)
    for table in ("webhook_delivery", "webhook_endpoint", "api_reply", "api_key", "business_number"):
        op.drop_table(table)
