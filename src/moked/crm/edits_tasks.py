"""Tasks and call-backs: added, done, given to somebody, put off."""

from datetime import datetime, timedelta

from moked.crm import audit, hiding, workdays
from moked.crm.audit import Actor
from moked.crm.lead_writing import check_owner
from moked.crm.models import Task, TaskKind
from moked.crm.workdays import Soon
from moked.crm.writing import Unreadable, Writer, clean, held, moment

_FARTHEST = timedelta(days=2 * 366)


class TaskEdits(Writer):
    def add_task(
        self,
        by: Actor,
        lead_id: int,
        note: str,
        due: str,
        *,
        kind: TaskKind = TaskKind.CALLBACK,
        assignee: int | None = None,
    ) -> int:
        """`due`: a `workdays.Soon`, or a moment as a browser sends it, in the business's own time. Returns its id."""
        due_at = self._when(by, due)
        with self._lead(by, lead_id) as (session, lead):
            check_owner(session, by, assignee)
            task = Task(
                business_id=by.business_id,
                lead_id=lead.id,
                kind=kind,
                note=hiding.hide_text(session, by.business_id, clean(note, many_lines=True), lead.phone),
                assignee_id=assignee,
                due_at=due_at,
                remind_at=due_at,
                created_at=self._clock(),
            )
            session.add(task)
            session.flush()
            audit.note(session, by, "task.added", f"task:{task.id}", self._clock(), lead=lead.id)
            return task.id

    def set_task_done(self, by: Actor, task_id: int, done: bool) -> int:
        """Done, or not done after all. Returns the lead's id."""
        with self._writing() as session:
            task = held(session, Task, by, task_id)
            if (task.done_at is not None) != done:
                task.done_at = self._clock() if done else None
                audit.note(session, by, "task.done" if done else "task.undone", f"task:{task.id}", self._clock())
            return task.lead_id

    def assign_task(self, by: Actor, task_id: int, user_id: int | None) -> None:
        """Whose task it is; None = whoever is there."""
        with self._writing() as session:
            task = held(session, Task, by, task_id)
            check_owner(session, by, user_id)
            task.assignee_id = user_id
            audit.note(session, by, "task.assigned", f"task:{task.id}", self._clock(), user=user_id)

    def snooze_task(self, by: Actor, task_id: int, until: str) -> None:
        """Be reminded again then, and not before. What is due stays due."""
        at = self._when(by, until)
        if at <= self._clock():
            raise Unreadable("due")
        with self._writing() as session:
            task = held(session, Task, by, task_id)
            if task.done_at is not None:
                raise Unreadable("done")
            task.remind_at = at
            audit.note(session, by, "task.snoozed", f"task:{task.id}", self._clock())

    def _when(self, by: Actor, text: str) -> datetime:
        now = self._clock()
        if text in set(Soon):
            chosen = [one.at for one in workdays.choices(now, by.timezone) if one.soon == text]
            if not chosen:
                raise Unreadable("due")
            return chosen[0]
        found = moment(text, by.timezone)
        if found is None or abs(found - now) > _FARTHEST:
            raise Unreadable("due")
        return found
