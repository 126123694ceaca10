"""The index of words: kept current inside the transaction that changes a lead, a contact or a call's words.

    lead, contact    by SQLAlchemy's own event: whoever flushes one has indexed it
    call             `add_words` with each turn, `index_call` when its words are settled, or some were taken out

One row of `search_entry` holds the words of one of them, as `finding` keeps them, each behind the business's number and
a letter for its kind. So the list of places of a word is one business's and one kind's from the start. SQLite looks
words up in an FTS5 table that triggers keep, PostgreSQL in a GIN index; both find by the beginning of a word, which is
all that is needed: `finding` has put every stem and every ending of a number among the words. No extension is used.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, bindparam, event, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from moked.crm import finding
from moked.crm.models import Call, Contact, Lead, TranscriptSegment, Turn
from moked.crm.tables_crm import ChannelIdentity, SearchEntry

_AT_ONCE = 1000


class Kind(StrEnum):
    """The letters before a word and before a number of each."""

    LEAD = "lm"
    CONTACT = "cd"
    CALL = "kn"

    @property
    def column(self) -> Any:
        return {Kind.LEAD: SearchEntry.lead_id, Kind.CONTACT: SearchEntry.contact_id}.get(self, SearchEntry.call_id)


@dataclass(frozen=True, slots=True)
class Entry:
    """The words and numbers of one row, before `finding` has looked at them."""

    kind: Kind
    row_id: int
    business_id: int
    texts: Sequence[str]
    numbers: Sequence[str]

    @property
    def tokens(self) -> set[str]:
        of_word, of_number = self.kind.value
        words = {f"{self.business_id}{of_word}{word}" for word in finding.kept_words(self.texts)}
        return words | {f"{self.business_id}{of_number}{number}" for number in finding.kept_numbers(self.numbers)}


# ---- asking


def rule(dialect: str, business_id: int, kind: Kind, asked: str) -> list[ColumnElement[bool]]:
    """Rules that rows of `kind` must fit to be found by what somebody typed; none for an empty question.

    PostgreSQL cannot know how rare a beginning of a word is, and would read the words of row after row for it. So the
    index is asked first, whatever else is asked.
    """
    wanted = finding.read(asked)
    if not wanted:
        return []
    entry = _entries(dialect, business_id, kind, wanted)
    if dialect != "sqlite":
        entry = select(entry.cte().prefix_with("MATERIALIZED").c[0])
    row = {Kind.LEAD: Lead.id, Kind.CONTACT: Contact.id}.get(kind, Call.id)
    found: ColumnElement[bool] = row.in_(entry)
    return [found]


def latest(dialect: str, business_id: int, kind: Kind, asked: str, limit: int) -> Select[tuple[int | None]]:
    """The ids of the latest rows that are found; for a question that is not empty."""
    entry = _entries(dialect, business_id, kind, finding.read(asked))
    if dialect == "sqlite":
        return entry.order_by(kind.column.desc()).limit(limit)
    found = entry.cte().prefix_with("MATERIALIZED")
    return select(found.c[0]).order_by(found.c[0].desc()).limit(limit)


def _entries(dialect: str, business_id: int, kind: Kind, wanted: finding.Wanted) -> Select[tuple[int | None]]:
    if dialect == "sqlite":
        match = _question(business_id, kind, wanted, '"{}"{}', "*", " AND ", " OR ")
        condition = "search_entry.id IN (SELECT rowid FROM search_fts WHERE search_fts MATCH :asked)"
    else:
        match = _question(business_id, kind, wanted, "'{}'{}", ":*", " & ", " | ")
        condition = "array_to_tsvector(string_to_array(search_entry.tokens, ' ')) @@ CAST(:asked AS tsquery)"
    return select(kind.column).where(text(condition).bindparams(bindparam("asked", match, unique=True)))


def _question(
    business_id: int, kind: Kind, wanted: finding.Wanted, form: str, begins: str, both: str, either: str
) -> str:
    of_word, of_number = (f"{business_id}{letter}" for letter in kind.value)
    ways = [
        both.join(
            "(" + either.join(form.format(of_word + one.text, begins if one.begins else "") for one in forms) + ")"
            for forms in map(finding.asked, wanted.words)
        )
    ]
    ways += [
        form.format(of_number + number, begins if len(number) >= finding.SURELY_NUMBER else "")
        for number in wanted.numbers
    ]
    return either.join(f"({way})" for way in ways if way)


# ---- keeping


def put(connection: Connection, entries: Iterable[Entry]) -> None:
    """Write the words of these rows; what they were before is forgotten."""
    by_kind: dict[Kind, list[dict[str, Any]]] = {}
    for entry in entries:
        by_kind.setdefault(entry.kind, []).append(_values(entry, entry.tokens))
    for kind, rows in by_kind.items():
        _write(connection, kind, rows)


def _values(entry: Entry, tokens: set[str]) -> dict[str, Any]:
    kept = " ".join(sorted(tokens))
    return {"business_id": entry.business_id, "tokens": kept, entry.kind.column.key: entry.row_id}


def _write(connection: Connection, kind: Kind, rows: Sequence[dict[str, Any]]) -> None:
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(SearchEntry)
    statement = statement.on_conflict_do_update(
        index_elements=[kind.column.key],
        set_={"tokens": statement.excluded.tokens},
        where=SearchEntry.tokens != statement.excluded.tokens,
    )
    connection.execute(statement, list(rows))


def add_words(session: Session, call_id: int, business_id: int, texts: Sequence[str]) -> None:
    """A turn's words join those of its call. The caller holds the call's row."""
    entry = Entry(Kind.CALL, call_id, business_id, texts, ())
    known = session.scalar(select(SearchEntry.tokens).where(SearchEntry.call_id == call_id))
    if known is None:
        index_call(session, call_id)
    elif new := entry.tokens - set(known.split()):
        _write(session.connection(), Kind.CALL, [_values(entry, new.union(known.split()))])


def index_call(session: Session, call_id: int) -> None:
    """The words of a call anew, from its turns as they stand in the database now."""
    session.flush()
    put(session.connection(), _calls(session.connection(), [call_id]))


def index_contacts(session: Session, ids: Sequence[int]) -> None:
    """The words of contacts anew, where they were written past the session."""
    put(session.connection(), _contacts(session.connection(), ids))


def rebuild(bind: Engine | Connection) -> None:
    """All words of all rows, for tables that were written past the session, or before there was an index."""
    if isinstance(bind, Engine):
        with bind.begin() as connection:
            rebuild(connection)
        return
    for table, entries in ((Contact, _contacts), (Lead, _leads), (Call, _calls)):
        after = 0
        while ids := list(bind.scalars(select(table.id).where(table.id > after).order_by(table.id).limit(_AT_ONCE))):
            put(bind, entries(bind, ids))
            after = ids[-1]


def _leads(connection: Connection, ids: Sequence[int]) -> Iterable[Entry]:
    columns = (Lead.id, Lead.business_id, Lead.phone, Lead.name, Lead.need, Lead.summary, Lead.best_time, Lead.extra)
    for row in connection.execute(select(*columns, Lead.notes).where(Lead.id.in_(ids))):
        own = [str(value) for value in row.extra.values()]
        notes = [str(note.get("text", "")) for note in row.notes]
        texts = [row.name, row.need, row.summary, row.best_time, *own, *notes]
        yield Entry(Kind.LEAD, row.id, row.business_id, texts, [row.phone])


def _contacts(connection: Connection, ids: Sequence[int]) -> Iterable[Entry]:
    addresses: dict[int, list[tuple[str, str]]] = {}
    known = select(ChannelIdentity.contact_id, ChannelIdentity.scheme, ChannelIdentity.value)
    for who, scheme, value in connection.execute(known.where(ChannelIdentity.contact_id.in_(ids))):
        addresses.setdefault(who, []).append((scheme, value))
    columns = (Contact.id, Contact.business_id, Contact.phone, Contact.name, Contact.aliases)
    for row in connection.execute(select(*columns).where(Contact.id.in_(ids))):
        theirs = addresses.get(row.id, [])
        texts = [row.name, *(str(other["name"]) for other in row.aliases)]
        texts += [value for scheme, value in theirs if scheme != "tel"]
        numbers = [row.phone or "", *(value for scheme, value in theirs if scheme == "tel")]
        yield Entry(Kind.CONTACT, row.id, row.business_id, texts, numbers)


def _calls(connection: Connection, ids: Sequence[int]) -> Iterable[Entry]:
    said: dict[int, list[str]] = {}
    turns = select(Turn.call_id, Turn.caller_text, Turn.heard).where(Turn.call_id.in_(ids))
    for call_id, caller, agent in connection.execute(turns):
        said.setdefault(call_id, []).extend((caller, agent))
    later = select(TranscriptSegment.call_id, TranscriptSegment.text).where(TranscriptSegment.call_id.in_(ids))
    for call_id, words in connection.execute(later):
        said.setdefault(call_id, []).append(words)
    for row in connection.execute(select(Call.id, Call.business_id, Call.caller).where(Call.id.in_(ids))):
        yield Entry(Kind.CALL, row.id, row.business_id, said.get(row.id, []), [row.caller])


@event.listens_for(Session, "after_flush")
def _keep_current(session: Session, context: object) -> None:
    changed = [*session.new, *session.dirty]
    leads = [row.id for row in changed if isinstance(row, Lead)]
    people = {row.id for row in changed if isinstance(row, Contact)}
    people |= {row.contact_id for row in (*changed, *session.deleted) if isinstance(row, ChannelIdentity)}
    if leads:
        put(session.connection(), _leads(session.connection(), leads))
    if people:
        put(session.connection(), _contacts(session.connection(), sorted(people)))
