"""Supervision of running calls: tickets of supervisors, orders to calls; who answered in the agent's place."""

import sqlalchemy as sa
from alembic import op

revision = "0009_live"
down_revision = "0011_pages"
branch_labels = None
depends_on = None


def _belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "supervise_ticket",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("talks", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        _belongs("supervise_ticket", "business_id", "business"),
        _belongs("supervise_ticket", "call_id", "call"),
        _belongs("supervise_ticket", "user_id", "user_account"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_supervise_ticket"),
    )
    op.create_index("ix_supervise_ticket_call_id", "supervise_ticket", ["call_id"])
    op.create_index("ix_supervise_ticket_expires_at", "supervise_ticket", ["expires_at"])
    op.create_table(
        "call_order",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        _belongs("call_order", "business_id", "business"),
        _belongs("call_order", "call_id", "call"),
        sa.PrimaryKeyConstraint("id", name="pk_call_order"),
    )
    op.create_index("ix_call_order_call_id_taken_at", "call_order", ["call_id", "taken_at"])
    op.create_index("ix_call_order_created_at", "call_order", ["created_at"])
    op.add_column("turn", sa.Column("spoken_by", sa.String(100), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("turn") as table:
        table.drop_column("spoken_by")
    op.drop_table("call_order")
    op.drop_table("supervise_ticket")
