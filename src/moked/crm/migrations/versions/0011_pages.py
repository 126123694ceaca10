"""Versions of what the agent says, rehearsals of drafts, the figures of days; an index to count a period's leads."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011_pages"
down_revision = "0016_privacy"
branch_labels = None
depends_on = None


def _belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "agent_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.String(100), nullable=False),
        sa.Column("part", sa.String(16), nullable=False),
        sa.Column("note", sa.String(200), nullable=False),
        sa.Column("restored", sa.Integer(), nullable=False),
        sa.Column("profile", sa.String(), nullable=False),
        sa.Column("script", sa.String(), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        _belongs("agent_version", "business_id", "business"),
        sa.PrimaryKeyConstraint("id", name="pk_agent_version"),
        sa.UniqueConstraint("business_id", "version", name="uq_agent_version_business_id_version"),
    )
    op.create_table(
        "agent_rehearsal",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("part", sa.String(16), nullable=False),
        sa.Column("draft", sa.String(), nullable=False),
        sa.Column("kept", json, nullable=False),
        sa.Column("lines", json, nullable=False),
        _belongs("agent_rehearsal", "user_id", "user_account"),
        _belongs("agent_rehearsal", "business_id", "business"),
        sa.PrimaryKeyConstraint("user_id", name="pk_agent_rehearsal"),
    )
    op.create_table(
        "day_figures",
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("zone", sa.String(64), nullable=False),
        sa.Column("shape", sa.Integer(), nullable=False),
        sa.Column("figures", json, nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        _belongs("day_figures", "business_id", "business"),
        sa.PrimaryKeyConstraint("business_id", "day", "simulated", name="pk_day_figures"),
    )


def downgrade() -> None:
    for table in ("day_figures", "agent_rehearsal", "agent_version"):
        op.drop_table(table)
