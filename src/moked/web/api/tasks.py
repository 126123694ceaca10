"""Tasks and call-backs: what is to be done, by when, and that it is done. A new one is added to its lead."""

from pydantic import Field

from moked.crm.audit import Actor
from moked.crm.edits import Unreadable
from moked.crm.models import Task, TaskKind
from moked.crm.permissions import Permission
from moked.crm.versions import version
from moked.web.api.layer import Answer, Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import Id, In, Moment, Out, Page, PageQuery, Since, page_of
from moked.web.parts import ApiParts


class TaskQuery(PageQuery):
    done: bool | None = Field(None, description="Only those done, or only those to be done")
    lead_id: Id | None = None


class TaskOut(Out):
    id: int
    lead_id: int
    kind: TaskKind
    note: str
    assignee_id: int | None = Field(description="Whose it is; null: whoever is there")
    due_at: Moment
    remind_at: Moment | None
    done_at: Moment | None
    created_at: Moment


class TaskEdit(In):
    done: bool


class TaskAssignee(In):
    user_id: Id | None = Field(description="Whose it is; null: whoever is there")


class TaskSnooze(In):
    until: Since = Field(description="Be reminded again then; at most two years from now")


def task_answer(parts: ApiParts, by: Actor, task_id: int) -> Answer:
    task = parts.desk.row(Task, by.business_id, task_id)
    if task is None:
        raise LookupError
    return Answer(TaskOut.model_validate(task), version(task))


def add(api: Api, parts: ApiParts) -> None:
    """`/tasks`, `/tasks/<id>`."""

    @api.on("GET", "/tasks", needs=Permission.VIEW, query=TaskQuery, gives=Page[TaskOut])
    def list_tasks(by: Actor, query: TaskQuery) -> Page[TaskOut]:
        """Call-backs, what is due first comes first."""
        found = parts.desk.task_list(
            by.business_id, done=query.done, lead_id=query.lead_id, after=query.after, limit=query.limit
        )
        return page_of(TaskOut, found)

    @api.on("GET", "/tasks/<int:task_id>", needs=Permission.VIEW, gives=TaskOut, versioned=True)
    def get_task(by: Actor, task_id: int) -> Answer:
        """One call-back."""
        return task_answer(parts, by, task_id)

    @api.on("PATCH", "/tasks/<int:task_id>", needs=Permission.EDIT, body=TaskEdit, gives=TaskOut, versioned=True)
    def edit_task(by: Actor, task_id: int, body: TaskEdit) -> Answer:
        """Mark a call-back as done, or as not done after all."""
        parts.edits.set_task_done(by, task_id, body.done)
        return task_answer(parts, by, task_id)

    @api.on(
        "PUT",
        "/tasks/<int:task_id>/assignee",
        needs=Permission.EDIT,
        body=TaskAssignee,
        gives=TaskOut,
        versioned=True,
        names={"owner": "user_id"},
    )
    def assign_task(by: Actor, task_id: int, body: TaskAssignee) -> Answer:
        """Say whose a task is."""
        parts.edits.assign_task(by, task_id, body.user_id)
        return task_answer(parts, by, task_id)

    @api.on(
        "POST",
        "/tasks/<int:task_id>/snooze",
        needs=Permission.EDIT,
        body=TaskSnooze,
        gives=TaskOut,
        versioned=True,
        problems=("conflict",),
        names={"due": "until"},
    )
    def snooze_task(by: Actor, task_id: int, body: TaskSnooze) -> Answer:
        """Be reminded of a task later; what is due stays due."""
        try:
            parts.edits.snooze_task(by, task_id, body.until.isoformat())
        except Unreadable as refusal:
            if str(refusal) == "done":
                raise Problem("conflict", "It is done already.") from None
            raise
        return task_answer(parts, by, task_id)
