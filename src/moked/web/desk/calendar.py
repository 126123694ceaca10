"""One's tasks in one's own calendar program: keys that open them and nothing else, and the file itself."""

from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.keys import Unusable
from moked.crm.permissions import Permission
from moked.web.api.calendar import PATH
from moked.web.api.layer import PREFIX
from moked.web.desk.gate import actor, needs
from moked.web.parts import ApiParts
from moked.web.task_calendar import task_calendar


def add(views: Blueprint, parts: ApiParts) -> None:
    """`/account/calendar...`, `/tasks.ics`."""

    def page(refusal: str = "", token: str = "") -> Response:
        shown = render_template(
            "desk/calendar.html",
            section="account",
            address=f"{g.base_url}{PREFIX}{PATH}",
            keys=parts.keys.own(actor()),
            refusal=refusal,
            token=token,
        )
        return make_response(shown, 400 if refusal else 200)

    @views.get("/account/calendar")
    @needs(Permission.CALENDAR)
    def calendar() -> Response:
        return page()

    @views.post("/account/calendar")
    @needs(Permission.CALENDAR)
    def make_calendar_key() -> Response:
        """`name`: which program it is for. The page shows the key, once."""
        try:
            return page(token=parts.keys.make_own(actor(), request.form.get("name", "")))
        except Unusable as refusal:
            return page(str(refusal))

    @views.post("/account/calendar/<int:key_id>/revoke")
    @needs(Permission.CALENDAR)
    def revoke_calendar_key(key_id: int) -> AnyResponse:
        try:
            parts.keys.revoke(actor(), key_id, own=True)
        except LookupError:
            abort(404)
        return redirect(url_for("desk.calendar", told="saved"))

    @views.get("/tasks.ics")
    @needs(Permission.CALENDAR)
    def calendar_file() -> Response:
        """The same as a file, as the tasks stand now."""
        file = Response(task_calendar(parts.desk, actor(), g.base_url), mimetype="text/calendar")
        file.headers["Content-Disposition"] = 'attachment; filename="moked.ics"'
        return file
