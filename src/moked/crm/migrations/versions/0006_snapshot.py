"""Where a running call stands, so that another process can go on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0006_snapshot"
down_revision = "0005_media_node"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "call_snapshot",
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("stream", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", MOMENT, nullable=False),
        sa.Column("left_at", MOMENT, nullable=True),
        sa.Column("left_why", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["call.id"], name="fk_call_snapshot_call_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["business_id"], ["business.id"], name="fk_call_snapshot_business_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("call_id", name="pk_call_snapshot"),
    )


def downgrade() -> None:
    op.drop_table("call_snapshot")
