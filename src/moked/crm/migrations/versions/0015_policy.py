"""Who may be contacted, what was sent, whom we call."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015_policy"
down_revision = "0013_jobs"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _belongs(table: str, column: str, to: str, *, gone: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete=gone)


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "consent",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        _moment("given_at", nullable=True),
        sa.Column("how", sa.String(16), nullable=False),
        sa.Column("call_sid", sa.String(64), nullable=False),
        sa.Column("offset_ms", sa.Integer(), nullable=True),
        sa.Column("text", sa.String(500), nullable=False),
        _moment("revoked_at", nullable=True),
        _moment("expires_at", nullable=True),
        _moment("created_at"),
        _belongs("consent", "business_id", "business"),
        _belongs("consent", "contact_id", "contact"),
        sa.PrimaryKeyConstraint("id", name="pk_consent"),
    )
    op.create_index("ix_consent_contact_id", "consent", ["contact_id"])
    op.create_table(
        "suppression",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        _moment("at"),
        _belongs("suppression", "business_id", "business"),
        sa.PrimaryKeyConstraint("id", name="pk_suppression"),
        sa.UniqueConstraint("business_id", "hash", name="uq_suppression_business_id_hash"),
    )
    op.create_table(
        "dnc_check",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("number_hash", sa.String(64), nullable=False),
        _moment("checked_at"),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        _belongs("dnc_check", "business_id", "business"),
        sa.PrimaryKeyConstraint("id", name="pk_dnc_check"),
        sa.UniqueConstraint("business_id", "number_hash", name="uq_dnc_check_business_id_number_hash"),
    )
    op.create_table(
        "sending_policy",
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("week", json, nullable=False),
        sa.Column("per_contact_day", sa.Integer(), nullable=False),
        sa.Column("per_channel_day", sa.Integer(), nullable=False),
        sa.Column("notify", json, nullable=False),
        sa.Column("texts", json, nullable=False),
        sa.Column("agent_calls_back", sa.Boolean(), nullable=False),
        _moment("updated_at"),
        _belongs("sending_policy", "business_id", "business"),
        sa.PrimaryKeyConstraint("business_id", name="pk_sending_policy"),
    )
    op.create_table(
        "outbound_message",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=True),
        sa.Column("call_sid", sa.String(64), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("to", sa.String(200), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("template", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("reasons", json, nullable=False),
        _moment("asked_at", nullable=True),
        sa.Column("approved_by", sa.String(100), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("due_at"),
        _moment("claimed_at", nullable=True),
        sa.Column("provider_id", sa.String(128), nullable=False),
        _moment("created_at"),
        _moment("sent_at", nullable=True),
        _belongs("outbound_message", "business_id", "business"),
        _belongs("outbound_message", "contact_id", "contact"),
        sa.PrimaryKeyConstraint("id", name="pk_outbound_message"),
        sa.UniqueConstraint("business_id", "key", name="uq_outbound_message_business_id_key"),
    )
    op.create_index("ix_outbound_message_business_id_created_at", "outbound_message", ["business_id", "created_at"])
    op.create_index("ix_outbound_message_contact_id", "outbound_message", ["contact_id"])
    op.create_index("ix_outbound_message_provider_id", "outbound_message", ["provider_id"])
    op.create_index("ix_outbound_message_state_due_at", "outbound_message", ["state", "due_at"])
    op.create_table(
        "channel_seen",
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        _moment("last_inbound_at"),
        _belongs("channel_seen", "contact_id", "contact"),
        sa.PrimaryKeyConstraint("contact_id", "channel", name="pk_channel_seen"),
    )
    op.create_table(
        "user_phone",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("phone", sa.String(32), nullable=False),
        _belongs("user_phone", "user_id", "user_account"),
        sa.PrimaryKeyConstraint("user_id", name="pk_user_phone"),
    )
    op.create_table(
        "campaign",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column("max_parallel", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("retry_minutes", sa.Integer(), nullable=False),
        sa.Column("stopped_why", sa.String(32), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        _moment("created_at"),
        _moment("resumed_at", nullable=True),
        _moment("ended_at", nullable=True),
        _belongs("campaign", "business_id", "business"),
        sa.PrimaryKeyConstraint("id", name="pk_campaign"),
    )
    op.create_index("ix_campaign_business_id_created_at", "campaign", ["business_id", "created_at"])
    op.create_table(
        "dial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("campaign_id", sa.Integer(), nullable=True),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("lead_id", sa.Integer(), nullable=True),
        sa.Column("task_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("number", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("ring_first", sa.String(32), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("result", sa.String(32), nullable=False),
        sa.Column("reasons", json, nullable=False),
        sa.Column("approved_by", sa.String(100), nullable=False),
        _moment("agreed_for", nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _moment("due_at"),
        sa.Column("call_sid", sa.String(64), nullable=False),
        _moment("placed_at", nullable=True),
        _moment("ended_at", nullable=True),
        _moment("created_at"),
        _belongs("dial", "business_id", "business"),
        _belongs("dial", "campaign_id", "campaign"),
        _belongs("dial", "contact_id", "contact"),
        _belongs("dial", "lead_id", "lead", gone="SET NULL"),
        _belongs("dial", "task_id", "task", gone="SET NULL"),
        _belongs("dial", "user_id", "user_account", gone="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_dial"),
        sa.UniqueConstraint("business_id", "key", name="uq_dial_business_id_key"),
    )
    op.create_index("ix_dial_call_sid", "dial", ["call_sid"])
    op.create_index("ix_dial_campaign_id_state", "dial", ["campaign_id", "state"])
    op.create_index("ix_dial_contact_id", "dial", ["contact_id"])
    op.create_index("ix_dial_state_due_at", "dial", ["state", "due_at"])


def downgrade() -> None:
    for table in (
        "dial",
        "campaign",
        "user_phone",
        "channel_seen",
        "outbound_message",
        "sending_policy",
        "dnc_check",
        "suppression",
        "consent",
    ):
        op.drop_table(table)
