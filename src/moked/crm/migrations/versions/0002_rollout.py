"""How calls are heard, changed at run time: what holds, its history, and what shadow recognitions found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002_rollout"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "rollout_state",
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("policy", JSON, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["business_id"], ["business.id"], name="fk_rollout_state_business_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("business_id", name="pk_rollout_state"),
    )
    op.create_table(
        "rollout_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
        sa.Column("what", sa.String(200), nullable=False),
        sa.Column("why", sa.String(400), nullable=False),
        sa.Column("figures", JSON, nullable=False),
        sa.Column("policy", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["business_id"], ["business.id"], name="fk_rollout_change_business_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_rollout_change"),
        sa.UniqueConstraint("business_id", "version", name="uq_rollout_change_business_id_version"),
    )
    op.create_table(
        "shadow_call",
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("result", JSON, nullable=False),
        sa.Column("examples", JSON, nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name="fk_shadow_call_call_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["business_id"], ["business.id"], name="fk_shadow_call_business_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", name="pk_shadow_call"),
    )
    op.create_index("ix_shadow_call_business_id_at", "shadow_call", ["business_id", "at"], unique=False)


def downgrade() -> None:
    op.drop_table("shadow_call")
    op.drop_table("rollout_change")
    op.drop_table("rollout_state")
