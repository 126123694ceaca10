"""When the words of a turn were said: what a number's silence in the recording is cut to."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018_word_times"
down_revision = "0017_written_consent"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("turn", sa.Column("word_times", json, nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("turn") as table:
        table.drop_column("word_times")
