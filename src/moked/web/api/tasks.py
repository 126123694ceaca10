"""Call-backs: what is to be done, by when, and that it is done. A new one is added to its lead."""

from pydantic import Field

from moked.crm.audit import Actor
from moked.crm.models import Task, TaskKind
from moked.crm.permissions import Permission
from moked.crm.versions import version
from moked.web.api.layer import Answer, Api
from moked.web.api.schemas import Id, In, Moment, Out, Page, PageQuery, page_of
from moked.web.parts import ApiParts


class TaskQuery(PageQuery):
    done: bool | None = Field(None, description="Only those done, or only those to be done")
    lead_id: Id | None = None


class TaskOut(Out):
    id: int
    lead_id: int
    kind: TaskKind
    note: str
    due_at: Moment
    done_at: Moment | None
    created_at: Moment


class TaskEdit(In):
    done: bool


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
