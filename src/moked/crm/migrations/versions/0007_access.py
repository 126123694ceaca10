"""People at the desk: accounts, sessions, what they did; who takes care of a lead; indexes for the lists."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007_access"
down_revision = "0006_snapshot"
branch_labels = None
depends_on = None


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _belongs(table: str, column: str, to: str, *, gone: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete=gone)


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "user_account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(200), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("totp_secret", sa.String(64), nullable=False),
        sa.Column("totp_step", sa.Integer(), nullable=False),
        sa.Column("recovery", json, nullable=False),
        sa.Column("invite_hash", sa.String(64), nullable=True),
        _moment("invite_until", nullable=True),
        _moment("created_at"),
        _belongs("user_account", "business_id", "business"),
        sa.PrimaryKeyConstraint("id", name="pk_user_account"),
        sa.UniqueConstraint("email", name="uq_user_account_email"),
        sa.UniqueConstraint("invite_hash", name="uq_user_account_invite_hash"),
    )
    op.create_index("ix_user_account_business_id", "user_account", ["business_id"])
    op.create_table(
        "user_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        _moment("created_at"),
        _moment("seen_at"),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(200), nullable=False),
        _belongs("user_session", "user_id", "user_account"),
        sa.PrimaryKeyConstraint("id", name="pk_user_session"),
        sa.UniqueConstraint("token_hash", name="uq_user_session_token_hash"),
    )
    op.create_index("ix_user_session_user_id", "user_session", ["user_id"])
    op.create_table(
        "login_attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        _moment("at"),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_login_attempt"),
    )
    op.create_index("ix_login_attempt_account_at", "login_attempt", ["account", "at"])
    op.create_index("ix_login_attempt_address_at", "login_attempt", ["address", "at"])
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("business_id", sa.Integer(), nullable=False),
        _moment("at"),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("data", json, nullable=False),
        _belongs("audit_entry", "business_id", "business"),
        _belongs("audit_entry", "user_id", "user_account", gone="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
    )
    op.create_index("ix_audit_entry_business_id_at", "audit_entry", ["business_id", "at"])
    op.add_column("lead", sa.Column("owner_id", sa.Integer(), nullable=True))
    op.add_column("contact", sa.Column("locked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_lead_business_id_updated_at", "lead", ["business_id", "updated_at"])
    op.create_index("ix_contact_business_id_updated_at", "contact", ["business_id", "updated_at"])


def downgrade() -> None:
    op.drop_index("ix_contact_business_id_updated_at", "contact")
    op.drop_index("ix_lead_business_id_updated_at", "lead")
    op.drop_column("contact", "locked")
    op.drop_column("lead", "owner_id")
    for table in ("audit_entry", "login_attempt", "user_session", "user_account"):
        op.drop_table(table)
