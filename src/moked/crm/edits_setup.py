"""What a business asks about its leads: fields of its own, reasons, and filters people keep under a name."""

from collections.abc import Mapping

from sqlalchemy import func, select

from moked.crm import audit, lead_values
from moked.crm.audit import Actor
from moked.crm.lead_fields import FieldKind, read_lines
from moked.crm.permissions import Permission, may
from moked.crm.tables_crm import LeadField, LeadSetting, SavedView
from moked.crm.writing import Unreadable, Writer, held, named

_MOST_FIELDS = 30
_MOST_VIEWS = 50


class SetupEdits(Writer):
    def add_lead_field(self, by: Actor, name: str, kind: FieldKind, choices: str) -> None:
        """A field of every lead. Its name stays; `choices` one a line, for a choice."""
        name, options = named(name, longest=60), read_lines(choices)
        if not name or "." in name:
            raise Unreadable("field_name")
        if kind is FieldKind.CHOICE and len(options) < 2:
            raise Unreadable("field_choices")
        with self._writing() as session:
            ours = LeadField.business_id == by.business_id
            count, last = session.execute(select(func.count(), func.max(LeadField.position)).where(ours)).one()
            if count >= _MOST_FIELDS or session.scalar(select(LeadField.id).where(ours, LeadField.name == name)):
                raise Unreadable("field_taken")
            field = LeadField(
                business_id=by.business_id,
                name=name,
                kind=kind.value,
                choices=options if kind is FieldKind.CHOICE else [],
                position=(last or 0) + 1,
            )
            session.add(field)
            session.flush()
            lead_values.fill(session.connection(), by.business_id)
            audit.note(session, by, "field.added", f"field:{field.id}", self._clock(), name=name, kind=kind.value)

    def remove_lead_field(self, by: Actor, field_id: int) -> None:
        """It is not asked any more; what stands in leads stays there."""
        with self._writing() as session:
            field = held(session, LeadField, by, field_id)
            audit.note(session, by, "field.removed", f"field:{field.id}", self._clock(), name=field.name)
            session.delete(field)

    def set_lost_reasons(self, by: Actor, text: str) -> None:
        """One a line."""
        reasons = read_lines(text)
        if not reasons:
            raise Unreadable("lost_reasons")
        with self._writing() as session:
            setting = session.get(LeadSetting, by.business_id) or LeadSetting(business_id=by.business_id)
            setting.lost_reasons = reasons
            session.add(setting)
            audit.note(session, by, "lost_reasons.changed", "", self._clock())

    def save_view(self, by: Actor, name: str, query: Mapping[str, str], *, board: bool, shared: bool) -> int:
        """Filters under a name, one's own or everybody's; one of the same name is replaced."""
        name = named(name, longest=60)
        if not name:
            raise Unreadable("view_name")
        if shared and not may(by.role, Permission.ASSIGN):
            raise Unreadable("view_shared")
        with self._writing() as session:
            own = (SavedView.business_id == by.business_id, SavedView.user_id == by.user_id)
            view = session.scalars(select(SavedView).where(*own, SavedView.name == name)).one_or_none()
            if view is None:
                if (session.scalar(select(func.count()).select_from(SavedView).where(*own)) or 0) >= _MOST_VIEWS:
                    raise Unreadable("view_many")
                view = SavedView(business_id=by.business_id, user_id=by.user_id, name=name, created_at=self._clock())
                session.add(view)
            view.query, view.board, view.shared = dict(query), board, shared
            session.flush()
            audit.note(session, by, "view.saved", f"view:{view.id}", self._clock(), shared=shared)
            return view.id

    def remove_view(self, by: Actor, view_id: int) -> None:
        """One's own; who may share views may also take a shared one away."""
        with self._writing() as session:
            view = held(session, SavedView, by, view_id)
            if view.user_id != by.user_id and not (view.shared and may(by.role, Permission.ASSIGN)):
                raise LookupError(f"no view {view_id}")
            session.delete(view)
            audit.note(session, by, "view.removed", f"view:{view_id}", self._clock())
