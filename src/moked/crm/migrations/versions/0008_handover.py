"""What became of connecting the caller to a person is a field of the lead."""

import sqlalchemy as sa
from alembic import op

revision = "0008_handover"
down_revision = "0007_access"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("lead", sa.Column("handover", sa.String(16), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("lead", "handover")
