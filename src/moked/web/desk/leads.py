"""Leads: the list, the board by stage, one lead and what people do with it."""

from collections.abc import Callable

from flask import Blueprint, Response, abort, jsonify, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.desk import LeadFilter
from moked.crm.edits import Unreadable
from moked.crm.leads import IllegalMove, Stage
from moked.crm.permissions import Permission
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts

FIELDS = ("name", "phone", "need", "best_time", "summary")


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/leads`, `/leads/board`, `/leads/<id>` and its changes."""

    def lead_page(lead_id: int, refusal: str = "", status: int = 200) -> Response:
        found = desk.desk.lead(actor().business_id, lead_id)
        if found is None:
            abort(404)
        page = render_template(
            "desk/lead.html",
            section="leads",
            page=found,
            fields=FIELDS,
            refusal=refusal,
            users=_open_users(desk),
            now=desk.desk.now(),
        )
        return make_response(page, status)

    def changed(lead_id: int, change: Callable[[], object], told: str) -> AnyResponse:
        """Do it and go back to the lead; a refusal is told there, and nothing has changed."""
        try:
            change()
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            return lead_page(lead_id, words.say(gate.language(), f"refused.{refusal}"), 400)
        return redirect(url_for("desk.lead", lead_id=lead_id, told=told))

    @views.get("/leads")
    @needs(Permission.VIEW)
    def leads() -> str:
        wanted = _wanted()
        found = desk.desk.leads(actor().business_id, wanted, actor().timezone, asked.page())
        users = desk.access.users(actor().business_id)
        names = {user.id: user.name for user in users}
        return render_template("desk/leads.html", section="leads", page=found, wanted=wanted, users=users, names=names)

    @views.get("/leads/board")
    @needs(Permission.VIEW)
    def leads_board() -> str:
        wanted = _wanted()
        found = desk.desk.board(actor().business_id, wanted, actor().timezone)
        users = desk.access.users(actor().business_id)
        names = {user.id: user.name for user in users}
        return render_template(
            "desk/leads_board.html", section="leads", columns=found, wanted=wanted, users=users, names=names
        )

    @views.get("/leads/<int:lead_id>")
    @needs(Permission.VIEW)
    def lead(lead_id: int) -> Response:
        return lead_page(lead_id)

    @views.post("/leads/<int:lead_id>/move")
    @needs(Permission.EDIT)
    def move_lead(lead_id: int) -> AnyResponse:
        """From the lead's page, from the board without scripts (`next`), or by dragging (the answer is JSON)."""
        to, by_script = asked.word(Stage, request.form.get("stage", "")), gate.TOKEN_HEADER in request.headers
        if to is None:
            abort(400)
        try:
            desk.edits.move(actor(), lead_id, to)
        except LookupError:
            abort(404)
        except IllegalMove:
            found = desk.desk.lead(actor().business_id, lead_id)
            assert found is not None
            told = words.say(
                gate.language(),
                "refused.new" if to is Stage.NEW else "refused.closed",
                stage=words.say(gate.language(), f"stage.{found.lead.stage.value}"),
            )
            return make_response(jsonify(message=told), 409) if by_script else lead_page(lead_id, told, 409)
        if by_script:
            return jsonify(message=words.say(gate.language(), "told.moved"))
        back = gate.safe_next(request.form.get("next", ""), "")
        return redirect(back or url_for("desk.lead", lead_id=lead_id, told="moved"))

    @views.post("/leads/<int:lead_id>/field")
    @needs(Permission.EDIT)
    def edit_lead(lead_id: int) -> AnyResponse:
        name, value = request.form.get("field", ""), request.form.get("value", "")
        if name not in FIELDS and not name.startswith("extra."):
            abort(400)

        def change() -> None:
            try:
                desk.edits.set_field(actor(), lead_id, name, value)
            except Unreadable:
                raise
            except ValueError:  # a detail this lead does not have
                abort(400)

        return changed(lead_id, change, "saved")

    @views.post("/leads/<int:lead_id>/owner")
    @needs(Permission.ASSIGN)
    def assign_lead(lead_id: int) -> AnyResponse:
        who = asked.row(request.form.get("owner", ""))
        return changed(lead_id, lambda: desk.edits.assign(actor(), lead_id, who or None), "saved")

    @views.post("/leads/<int:lead_id>/notes")
    @needs(Permission.EDIT)
    def note_lead(lead_id: int) -> AnyResponse:
        text = request.form.get("text", "")
        return changed(lead_id, lambda: desk.edits.add_note(actor(), lead_id, text), "saved")

    @views.post("/leads/<int:lead_id>/tasks")
    @needs(Permission.EDIT)
    def add_task(lead_id: int) -> AnyResponse:
        note, due = request.form.get("note", ""), request.form.get("due", "")
        return changed(lead_id, lambda: desk.edits.add_task(actor(), lead_id, note, due), "saved")


def _wanted() -> LeadFilter:
    return LeadFilter(
        stage=asked.word(Stage, request.args.get("stage", "")),
        owner=asked.row(request.args.get("owner", "")),
        text=asked.text(),
        since=asked.day("since"),
        until=asked.day("until"),
    )


def _open_users(desk: DeskParts) -> list[object]:
    return [user for user in desk.access.users(actor().business_id) if user.active]
