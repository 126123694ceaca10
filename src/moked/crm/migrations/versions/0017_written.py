"""Written conversations: answers as voice notes, templates in other languages, and what they are told was read."""

import sqlalchemy as sa
from alembic import op

revision = "0017_written"
down_revision = "0014_whatsapp"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("outbound_message") as table:
        table.add_column(sa.Column("voice", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("template_language", sa.String(16), nullable=False, server_default=""))
    with op.batch_alter_table("outbound_message") as table:
        table.alter_column("voice", server_default=None)
        table.alter_column("template_language", server_default=None)
    with op.batch_alter_table("conversation") as table:
        table.add_column(sa.Column("read_id", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("shown_id", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("conversation") as table:
        table.alter_column("read_id", server_default=None)
        table.alter_column("shown_id", server_default=None)
    op.execute(sa.text("UPDATE outbound_message SET template_language = 'he' WHERE template <> ''"))
    op.execute(
        sa.text(
            "UPDATE conversation SET read_id = newest, shown_id = newest FROM (SELECT conversation_id,"
            " max(id) AS newest FROM message WHERE inbound GROUP BY conversation_id) AS theirs"
            " WHERE conversation.id = theirs.conversation_id"
        )
    )


def downgrade() -> None:
    with op.batch_alter_table("conversation") as table:
        table.drop_column("shown_id")
        table.drop_column("read_id")
    with op.batch_alter_table("outbound_message") as table:
        table.drop_column("template_language")
        table.drop_column("voice")
