"""Search, addresses of people, merging, activities, tags, own fields, views, imports and exports."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from moked.crm import search

revision = "0010_crm"
down_revision = "0012_api"
branch_labels = None
depends_on = None

_FTS = (
    "CREATE VIRTUAL TABLE search_fts USING fts5(tokens, content='search_entry', content_rowid='id', detail=none, "
    "columnsize=0, prefix='5 6', tokenize='unicode61 remove_diacritics 0')",
    "CREATE TRIGGER search_added AFTER INSERT ON search_entry BEGIN "
    "INSERT INTO search_fts(rowid, tokens) VALUES (new.id, new.tokens); END",
    "CREATE TRIGGER search_gone AFTER DELETE ON search_entry BEGIN "
    "INSERT INTO search_fts(search_fts, rowid, tokens) VALUES ('delete', old.id, old.tokens); END",
    "CREATE TRIGGER search_changed AFTER UPDATE OF tokens ON search_entry BEGIN "
    "INSERT INTO search_fts(search_fts, rowid, tokens) VALUES ('delete', old.id, old.tokens); "
    "INSERT INTO search_fts(rowid, tokens) VALUES (new.id, new.tokens); END",
)
_TABLES = (
    "export_job", "import_job", "saved_view", "lead_setting", "lead_field", "lead_tag", "tag", "activity",
    "contact_merge", "channel_identity", "search_entry",
)  # fmt: skip


def _moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _id(name: str = "id", *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _text(name: str, length: int | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def _belongs(table: str, to: str, column: str = "", *, gone: str = "CASCADE") -> sa.ForeignKeyConstraint:
    column = column or f"{to}_id"
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=f"fk_{table}_{column}", ondelete=gone)


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

    def data(name: str) -> sa.Column[Any]:
        return sa.Column(name, json, nullable=False)

    def table(name: str, *parts: Any, key: tuple[str, ...] = ("id",)) -> None:
        op.create_table(name, *parts, sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"))

    def unique(table: str, *columns: str) -> sa.UniqueConstraint:
        return sa.UniqueConstraint(*columns, name=f"uq_{table}_{'_'.join(columns)}")

    def index(table: str, *columns: str) -> None:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))

    op.add_column("lead", sa.Column("value", sa.Integer(), nullable=True))
    op.add_column("lead", sa.Column("lost_reason", sa.String(200), nullable=False, server_default=""))
    op.add_column("contact", sa.Column("merged_into_id", sa.Integer(), nullable=True))
    op.add_column("contact", sa.Column("aliases", json, nullable=False, server_default="[]"))
    op.add_column("task", sa.Column("assignee_id", sa.Integer(), nullable=True))
    op.add_column("task", _moment("remind_at", nullable=True))
    index("lead", "business_id", "created_at")
    index("lead", "business_id", "value")
    index("task", "business_id", "remind_at")

    name = "search_entry"
    table(
        name, _id(), _id("business_id"), _id("lead_id", nullable=True), _id("contact_id", nullable=True),
        _id("call_id", nullable=True), _text("tokens"), _belongs(name, "business"), _belongs(name, "lead"),
        _belongs(name, "contact"), _belongs(name, "call"), unique(name, "lead_id"), unique(name, "contact_id"),
        unique(name, "call_id"),
    )  # fmt: skip
    name = "channel_identity"
    table(
        name, _id(), _id("business_id"), _id("contact_id"), _text("scheme", 16), _text("value", 200),
        _moment("verified_at", nullable=True), _moment("created_at"), _belongs(name, "business"),
        _belongs(name, "contact"), unique(name, "business_id", "scheme", "value"),
    )  # fmt: skip
    index(name, "contact_id")
    name = "contact_merge"
    table(
        name, _id(), _id("business_id"), _id("kept_id"), _id("gone_id"), _text("who", 100), _moment("at"),
        data("moved"), data("before"), _moment("undone_at", nullable=True), _belongs(name, "business"),
        _belongs(name, "contact", "kept_id"), _belongs(name, "contact", "gone_id"),
    )  # fmt: skip
    index(name, "kept_id")
    index(name, "gone_id")
    name = "activity"
    table(
        name, _id(), _id("business_id"), _id("contact_id"), _id("lead_id", nullable=True), _moment("at"),
        _text("kind", 32), _text("who", 100), _text("text"), _text("link", 200), data("data"),
        _belongs(name, "business"), _belongs(name, "contact"), _belongs(name, "lead", gone="SET NULL"),
    )  # fmt: skip
    index(name, "contact_id", "at")
    index(name, "lead_id")
    table(
        "tag", _id(), _id("business_id"), _text("name", 40), _belongs("tag", "business"),
        unique("tag", "business_id", "name"),
    )  # fmt: skip
    table(
        "lead_tag", _id("lead_id"), _id("tag_id"), _belongs("lead_tag", "lead"), _belongs("lead_tag", "tag"),
        key=("lead_id", "tag_id"),
    )  # fmt: skip
    index("lead_tag", "tag_id", "lead_id")
    name = "lead_field"
    table(
        name, _id(), _id("business_id"), _text("name", 60), _text("kind", 16), data("choices"), _id("position"),
        _belongs(name, "business"), unique(name, "business_id", "name"),
    )  # fmt: skip
    name = "lead_setting"
    table(name, _id("business_id"), data("lost_reasons"), _belongs(name, "business"), key=("business_id",))
    name = "saved_view"
    table(
        name, _id(), _id("business_id"), _id("user_id"), _text("name", 60), data("query"),
        sa.Column("board", sa.Boolean(), nullable=False), sa.Column("shared", sa.Boolean(), nullable=False),
        _moment("created_at"), _belongs(name, "business"), _belongs(name, "user_account", "user_id"),
    )  # fmt: skip
    index(name, "business_id")
    name = "import_job"
    table(
        name, _id(), _id("business_id"), _id("user_id"), _text("name", 200), _moment("created_at"), data("about"),
        sa.Column("data", sa.LargeBinary(), nullable=True), _moment("applied_at", nullable=True),
        _moment("undone_at", nullable=True), data("made"), _belongs(name, "business"),
        _belongs(name, "user_account", "user_id"),
    )  # fmt: skip
    index(name, "business_id", "created_at")
    name = "export_job"
    table(
        name, _id(), _id("business_id"), _id("user_id"), _text("kind", 16), _text("format", 8), data("query"),
        _text("state", 16), _id("tries"), _moment("taken_until", nullable=True), _id("rows"),
        sa.Column("data", sa.LargeBinary(), nullable=True), _moment("created_at"), _moment("ready_at", nullable=True),
        _belongs(name, "business"), _belongs(name, "user_account", "user_id"),
    )  # fmt: skip
    index(name, "business_id", "created_at")
    index(name, "state")

    op.execute(
        "INSERT INTO channel_identity (business_id, contact_id, scheme, value, created_at) "
        "SELECT business_id, id, 'tel', phone, created_at FROM contact WHERE phone IS NOT NULL"
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in _FTS:
            op.execute(statement)
    else:
        op.execute(
            "CREATE INDEX ix_search_entry_words ON search_entry "
            "USING gin (array_to_tsvector(string_to_array(tokens, ' ')))"
        )
    search.rebuild(op.get_bind())


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for trigger in ("search_added", "search_gone", "search_changed"):
            op.execute(f"DROP TRIGGER {trigger}")
        op.execute("DROP TABLE search_fts")
    for table in _TABLES:
        op.drop_table(table)
    op.drop_index("ix_task_business_id_remind_at", "task")
    op.drop_index("ix_lead_business_id_value", "lead")
    op.drop_index("ix_lead_business_id_created_at", "lead")
    for table, column in (
        ("task", "remind_at"), ("task", "assignee_id"), ("contact", "aliases"), ("contact", "merged_into_id"),
        ("lead", "lost_reason"), ("lead", "value"),
    ):  # fmt: skip
        op.drop_column(table, column)
