"""Work after calls: what is to be done, by whom, and what came of it."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013_jobs"
down_revision = "0010_crm"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _belongs(table: str, column: str, to: str, *, gone: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete=gone)


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("payload", json, nullable=False),
        sa.Column("lane", sa.String(32), nullable=False),
        sa.Column("partition", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("done", json, nullable=False),
        sa.Column("failed", json, nullable=False),
        _moment("created_at"),
        _moment("due_at"),
        _moment("changed_at"),
        _belongs("job", "business_id", "business"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sa.UniqueConstraint("key", name="uq_job_key"),
    )
    op.create_index("ix_job_state_due_at", "job", ["state", "due_at"])
    op.create_index("ix_job_business_id_state_created_at", "job", ["business_id", "state", "created_at"])
    op.create_table(
        "job_worker",
        sa.Column("executor", sa.String(128), nullable=False),
        _moment("started_at"),
        _moment("beat_at"),
        sa.PrimaryKeyConstraint("executor", name="pk_job_worker"),
    )
    op.create_table(
        "call_summary",
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("summary", sa.String(), nullable=False),
        sa.Column("next_step", sa.String(300), nullable=False),
        sa.Column("fields", json, nullable=False),
        _moment("created_at"),
        _belongs("call_summary", "call_id", "call"),
        _belongs("call_summary", "business_id", "business"),
        sa.PrimaryKeyConstraint("call_id", name="pk_call_summary"),
    )
    op.create_index("ix_call_summary_business_id_created_at", "call_summary", ["business_id", "created_at"])
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=True),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("recipient", sa.String(200), nullable=False),
        _moment("created_at"),
        _moment("sent_at", nullable=True),
        _belongs("notice", "business_id", "business"),
        _belongs("notice", "call_id", "call", gone="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_notice"),
        sa.UniqueConstraint("key", name="uq_notice_key"),
    )
    op.create_index("ix_notice_business_id_created_at", "notice", ["business_id", "created_at"])
    op.create_index("ix_notice_call_id", "notice", ["call_id"])


def downgrade() -> None:
    for table in ("notice", "call_summary", "job_worker", "job"):
        op.drop_table(table)
