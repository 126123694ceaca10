"""Call-backs and other tasks: what is due when, what is done, whose it is, and being reminded later."""

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm import workdays
from moked.crm.edits import Unreadable
from moked.crm.permissions import Permission
from moked.crm.workdays import Span
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts

_MINE = "me"


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/tasks`, `/tasks/<id>/done`, `/tasks/<id>/snooze`, `/tasks/<id>/assignee`."""

    def page_of_tasks(refusal: str = "", status: int = 200) -> Response:
        me, now, zone = actor(), desk.desk.now(), actor().timezone
        done, span = request.args.get("done") == "1", asked.word(Span, request.args.get("due", ""))
        who = request.args.get("who", "")
        assignee = me.user_id if who == _MINE else asked.row(who)
        found = desk.desk.tasks(
            me.business_id, done=done, page=asked.page(), span=None if done else span, zone=zone, assignee=assignee
        )
        users = desk.access.users(me.business_id)
        page = render_template(
            "desk/tasks.html",
            section="tasks",
            page=found,
            done=done,
            now=now,
            span=span,
            who=who,
            spans={task.id: workdays.span(task.due_at, now, zone) for task, _ in found.rows},
            counts={} if done else desk.desk.task_counts(me.business_id, zone, assignee),
            users=[user for user in users if user.active],
            names={user.id: user.name for user in users},
            refusal=refusal,
        )
        return make_response(page, status)

    @views.get("/tasks")
    @needs(Permission.VIEW)
    def tasks() -> Response:
        return page_of_tasks()

    @views.post("/tasks/<int:task_id>/done")
    @needs(Permission.EDIT)
    def task_done(task_id: int) -> AnyResponse:
        """`done` is '1' or '0'; `next`, where to go back to."""
        try:
            lead_id = desk.edits.set_task_done(actor(), task_id, request.form.get("done") == "1")
        except LookupError:
            abort(404)
        return redirect(gate.safe_next(request.form.get("next", ""), url_for("desk.lead", lead_id=lead_id)))

    @views.post("/tasks/<int:task_id>/snooze")
    @needs(Permission.EDIT)
    def snooze_task(task_id: int) -> AnyResponse:
        """`until`: one of the times that are offered, or a moment."""
        try:
            desk.edits.snooze_task(actor(), task_id, request.form.get("until", ""))
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            return page_of_tasks(words.say(gate.language(), f"refused.{refusal}"), 400)
        return redirect(gate.safe_next(request.form.get("next", ""), url_for("desk.tasks")))

    @views.post("/tasks/<int:task_id>/assignee")
    @needs(Permission.EDIT)
    def assign_task(task_id: int) -> AnyResponse:
        try:
            desk.edits.assign_task(actor(), task_id, asked.row(request.form.get("assignee", "")) or None)
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            return page_of_tasks(words.say(gate.language(), f"refused.{refusal}"), 400)
        return redirect(gate.safe_next(request.form.get("next", ""), url_for("desk.tasks")))
