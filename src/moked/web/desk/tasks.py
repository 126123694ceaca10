"""Call-backs: what is due, what is done, and marking one as the other."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.permissions import Permission
from moked.web.desk import asked, gate
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/tasks`, `/tasks/<id>/done`."""

    @views.get("/tasks")
    @needs(Permission.VIEW)
    def tasks() -> str:
        done = request.args.get("done") == "1"
        found = desk.desk.tasks(actor().business_id, done=done, page=asked.page())
        return render_template("desk/tasks.html", section="tasks", page=found, done=done, now=desk.desk.now())

    @views.post("/tasks/<int:task_id>/done")
    @needs(Permission.EDIT)
    def task_done(task_id: int) -> AnyResponse:
        """`done` is '1' or '0'; `next`, where to go back to."""
        try:
            lead_id = desk.edits.set_task_done(actor(), task_id, request.form.get("done") == "1")
        except LookupError:
            abort(404)
        return redirect(gate.safe_next(request.form.get("next", ""), url_for("desk.lead", lead_id=lead_id)))
