"""The search of the whole desk: leads, contacts and calls in groups, each with the place where it was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from moked.crm import finding, search
from moked.crm.finding import Piece, Wanted
from moked.crm.models import Call, Contact, Lead, TranscriptSegment, Turn
from moked.crm.reading import Reader
from moked.crm.search import Kind

SHOWN = 8
_SPARE = 12  # some may be signposts to merged contacts


@dataclass(frozen=True, slots=True)
class Hit:
    """`name`: of the person, marked; `place`: the words that were found, in their surroundings; `turn`: of a call."""

    row: Lead | Contact | Call
    name: Sequence[Piece]
    place: Sequence[Piece] = ()
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """`more`: there are more of them than are shown."""

    leads: Sequence[Hit]
    contacts: Sequence[Hit]
    calls: Sequence[Hit]
    more: frozenset[Kind]

    def __bool__(self) -> bool:
        return bool(self.leads or self.contacts or self.calls)


class Finder(Reader):
    def find(self, business_id: int, text: str) -> Found | None:
        """None for an empty question. The latest first in each group."""
        wanted = finding.read(text)
        if not wanted:
            return None
        with self._reading() as session:

            def latest(table: Any, kind: Kind) -> Any:
                ids = session.scalars(search.latest(self._dialect, business_id, kind, text, SHOWN + _SPARE)).all()
                rows = session.scalars(
                    select(table).where(table.business_id == business_id, table.id.in_(ids)).order_by(table.id.desc())
                )
                return [row for row in rows if getattr(row, "merged_into_id", None) is None][: SHOWN + 1]

            leads = latest(Lead, Kind.LEAD)
            contacts = latest(Contact, Kind.CONTACT)
            calls = latest(Call, Kind.CALL)
            found = {Kind.LEAD: leads, Kind.CONTACT: contacts, Kind.CALL: calls}
            shown = [call.id for call in calls[:SHOWN]]
            turns = session.execute(
                select(Turn.call_id, Turn.number, Turn.caller_text, Turn.heard)
                .where(Turn.call_id.in_(shown))
                .order_by(Turn.number)
            ).all()
            later = session.execute(
                select(TranscriptSegment.call_id, TranscriptSegment.text)
                .where(TranscriptSegment.call_id.in_(shown))
                .order_by(TranscriptSegment.number)
            ).all()
            people = select(Contact.id, Contact.name).where(Contact.id.in_([call.contact_id for call in calls]))
            names = {row.id: row.name for row in session.execute(people)}
        said: dict[int, list[tuple[int | None, str]]] = {}
        for call_id, number, caller, agent in turns:
            said.setdefault(call_id, []).extend(((number, caller), (number, agent)))
        for call_id, words in later:
            said.setdefault(call_id, []).append((None, words))
        return Found(
            [Hit(lead, marked(lead.name, wanted), _place(_texts(lead), wanted)) for lead in leads[:SHOWN]],
            [Hit(one, marked(one.name, wanted), _place(_names(one), wanted)) for one in contacts[:SHOWN]],
            [
                _spoken(call, names.get(call.contact_id or 0, ""), said.get(call.id, []), wanted)
                for call in calls[:SHOWN]
            ],
            frozenset(kind for kind, rows in found.items() if len(rows) > SHOWN),
        )


def marked(text: str, wanted: Wanted) -> Sequence[Piece]:
    """All of a short text, with what was found marked."""
    return finding.snippet(text, wanted, around=200) or ([Piece(text)] if text else [])


def _texts(lead: Lead) -> list[str]:
    notes = [str(note.get("text", "")) for note in lead.notes]
    return [lead.need, lead.summary, *notes, lead.best_time, *(str(value) for value in lead.extra.values())]


def _names(contact: Contact) -> list[str]:
    return [str(other["name"]) for other in contact.aliases]


def _place(texts: Sequence[str], wanted: Wanted) -> Sequence[Piece]:
    return next((pieces for text in texts if (pieces := finding.snippet(text, wanted))), [])


def _spoken(call: Call, name: str, said: Sequence[tuple[int | None, str]], wanted: Wanted) -> Hit:
    for number, text in said:
        if pieces := finding.snippet(text, wanted):
            return Hit(call, marked(name, wanted), pieces, number)
    return Hit(call, marked(name, wanted))
