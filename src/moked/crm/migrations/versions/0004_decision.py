"""Why each turn was taken to be over, and what came of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004_decision"
down_revision = "0003_transcript"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turn", sa.Column("decision", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("turn") as table:
        table.drop_column("decision")
