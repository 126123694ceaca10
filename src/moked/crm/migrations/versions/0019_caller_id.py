"""The number that a business calls from."""

import sqlalchemy as sa
from alembic import op

revision = "0019_caller_id"
down_revision = "0018_word_times"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sending_policy", sa.Column("caller_id", sa.String(32), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("sending_policy") as table:
        table.drop_column("caller_id")
