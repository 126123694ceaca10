"""Media processes and their load; which of them a call is at."""

import sqlalchemy as sa
from alembic import op

revision = "0005_media_node"
down_revision = "0004_decision"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "media_node",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("address", sa.String(300), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("lag_ms", sa.Integer(), nullable=False),
        sa.Column("accepting", sa.Boolean(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("beat_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_media_node"),
    )
    op.add_column("call", sa.Column("node", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("call", "node")
    op.drop_table("media_node")
