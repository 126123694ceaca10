"""Which message a consent or its end stands in: the carrier's id, when it was written, a hash of its text."""

import sqlalchemy as sa
from alembic import op

revision = "0017_written_consent"
down_revision = "0017_written"
branch_labels = None
depends_on = None

_TEXTS = (("message_key", 128), ("message_channel", 32), ("message_digest", 64))


def upgrade() -> None:
    for name, length in _TEXTS:
        op.add_column("consent", sa.Column(name, sa.String(length), nullable=False, server_default=""))
    op.add_column("consent", sa.Column("message_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("consent") as table:
        for name in ("message_at", *(name for name, _ in _TEXTS)):
            table.drop_column(name)
