"""The stored transcript of a call, written after it."""

import sqlalchemy as sa
from alembic import op

revision = "0003_transcript"
down_revision = "0002_rollout"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "transcript_segment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("start_ms", sa.Integer(), nullable=False),
        sa.Column("end_ms", sa.Integer(), nullable=False),
        sa.Column("speaker", sa.String(16), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["business_id"], ["business.id"], name="fk_transcript_segment_business_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name="fk_transcript_segment_call_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_transcript_segment"),
        sa.UniqueConstraint("call_id", "number", name="uq_transcript_segment_call_id_number"),
    )


def downgrade() -> None:
    op.drop_table("transcript_segment")
