"""Businesses, contacts, leads, calls with their turns and events, tasks, stream tickets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Types are written out here, not taken from the models: a migration must not change when the program does.
MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "business",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("phone", sa.String(32), nullable=False),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_business"),
        sa.UniqueConstraint("key", name="uq_business_key"),
    )
    op.create_table(
        "contact",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("phone", sa.String(32), nullable=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_contact_business_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_contact"),
        sa.UniqueConstraint("business_id", "phone", name="uq_contact_business_id_phone"),
    )
    op.create_table(
        "stream_ticket",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("call_sid", sa.String(64), nullable=False),
        sa.Column("start", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["business_id"], ["business.id"], name="fk_stream_ticket_business_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name="pk_stream_ticket"),
    )
    op.create_index("ix_stream_ticket_call_sid", "stream_ticket", ["call_sid"], unique=False)
    op.create_index("ix_stream_ticket_expires_at", "stream_ticket", ["expires_at"], unique=False)
    op.create_table(
        "lead",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=False),
        sa.Column("source_call_sid", sa.String(64), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("phone", sa.String(32), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("need", sa.String(), nullable=False),
        sa.Column("best_time", sa.String(200), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("extra", JSON, nullable=False),
        sa.Column("sources", JSON, nullable=False),
        sa.Column("notes", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_lead_business_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name="fk_lead_contact_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_lead"),
    )
    op.create_index("ix_lead_business_id_phone", "lead", ["business_id", "phone"], unique=False)
    op.create_index(
        "ix_lead_business_id_stage_updated_at", "lead", ["business_id", "stage", "updated_at"], unique=False
    )
    op.create_index("ix_lead_contact_id", "lead", ["contact_id"], unique=False)
    op.create_table(
        "call",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sid", sa.String(64), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("contact_id", sa.Integer(), nullable=True),
        sa.Column("lead_id", sa.Integer(), nullable=True),
        sa.Column("account_sid", sa.String(64), nullable=False),
        sa.Column("caller", sa.String(128), nullable=False),
        sa.Column("called", sa.String(128), nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("answered_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("heartbeat_at", MOMENT, nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(32), nullable=True),
        sa.Column("detail", sa.String(64), nullable=False),
        sa.Column("engines", JSON, nullable=False),
        sa.Column("lead_missing_reason", sa.String(32), nullable=True),
        sa.Column("next_step", sa.String(16), nullable=False),
        sa.Column("transfer_to", sa.String(32), nullable=False),
        sa.Column("draft", JSON, nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_call_business_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name="fk_call_contact_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["lead_id"], ["lead.id"], name="fk_call_lead_id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_call"),
        sa.UniqueConstraint("sid", name="uq_call_sid"),
    )
    op.create_index("ix_call_business_id_started_at", "call", ["business_id", "started_at"], unique=False)
    op.create_index("ix_call_contact_id", "call", ["contact_id"], unique=False)
    op.create_index("ix_call_lead_id", "call", ["lead_id"], unique=False)
    op.create_index(
        "ix_call_unended",
        "call",
        ["heartbeat_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "call_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("key", sa.String(128), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_call_event_business_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name="fk_call_event_call_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_call_event"),
        sa.UniqueConstraint("call_id", "kind", "key", name="uq_call_event_call_id_kind_key"),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("lead_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_task_business_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name="fk_task_call_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["lead_id"], ["lead.id"], name="fk_task_lead_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_task"),
        sa.UniqueConstraint("call_id", "kind", name="uq_task_call_id_kind"),
    )
    op.create_index("ix_task_business_id_done_at_due_at", "task", ["business_id", "done_at", "due_at"], unique=False)
    op.create_index("ix_task_lead_id", "task", ["lead_id"], unique=False)
    op.create_table(
        "turn",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("caller_text", sa.String(), nullable=False),
        sa.Column("said", sa.String(), nullable=False),
        sa.Column("heard", sa.String(), nullable=False),
        sa.Column("cut", sa.Boolean(), nullable=False),
        sa.Column("started_ms", sa.Integer(), nullable=False),
        sa.Column("ended_ms", sa.Integer(), nullable=False),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("dtmf", sa.String(64), nullable=False),
        sa.Column("speech_end_ms", sa.Integer(), nullable=True),
        sa.Column("transcript_ms", sa.Integer(), nullable=True),
        sa.Column("endpoint_ms", sa.Integer(), nullable=True),
        sa.Column("llm_first_ms", sa.Integer(), nullable=True),
        sa.Column("tts_first_ms", sa.Integer(), nullable=True),
        sa.Column("sent_ms", sa.Integer(), nullable=True),
        sa.Column("heard_ms", sa.Integer(), nullable=True),
        sa.Column("tools", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["business_id"], ["business.id"], name="fk_turn_business_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name="fk_turn_call_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_turn"),
        sa.UniqueConstraint("call_id", "number", name="uq_turn_call_id_number"),
    )


def downgrade() -> None:
    for table in ("turn", "task", "call_event", "call", "lead", "stream_ticket", "contact", "business"):
        op.drop_table(table)
