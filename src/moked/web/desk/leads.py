"""Leads: the list, the board by stage, one lead and what people do with it."""

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, abort, jsonify, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.edits import Unreadable
from moked.crm.filters import NOTHING, LeadFilter
from moked.crm.leads import IllegalMove, Origin, Stage
from moked.crm.models import Lead, TaskKind
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
            tags=desk.desk.tags_of([lead_id]).get(lead_id, []),
            all_tags=desk.desk.tags(actor().business_id),
            own=desk.desk.lead_fields(actor().business_id),
            reasons=desk.desk.lost_reasons(actor().business_id),
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

    def list_values(rows: Sequence[Lead]) -> dict[str, object]:
        """What the list and the board show beside their leads."""
        me = actor()
        users = desk.access.users(me.business_id)
        return {
            "users": users,
            "names": {user.id: user.name for user in users},
            "tags": desk.desk.tags_of([lead.id for lead in rows]),
            "all_tags": desk.desk.tags(me.business_id),
            "origins": list(Origin),
            "own": desk.desk.lead_field_rows(me.business_id),
            "nothing": NOTHING,
            "saved": desk.desk.views(me.business_id, me.user_id),
        }

    @views.get("/leads")
    @needs(Permission.VIEW)
    def leads() -> str:
        wanted = LeadFilter.of_query(request.args)
        found = desk.desk.leads(actor().business_id, wanted, actor().timezone, asked.page())
        return render_template("desk/leads.html", section="leads", page=found, wanted=wanted, **list_values(found.rows))

    @views.get("/leads/board")
    @needs(Permission.VIEW)
    def leads_board() -> str:
        wanted = LeadFilter.of_query(request.args)
        found = desk.desk.board(actor().business_id, wanted, actor().timezone)
        rows = [lead for column in found.values() for lead in column.rows]
        reasons = desk.desk.lost_reasons(actor().business_id)
        return render_template(
            "desk/leads_board.html", section="leads", columns=found, wanted=wanted, reasons=reasons, **list_values(rows)
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
        reason = request.form.get("reason", "")
        back = gate.safe_next(request.form.get("next", ""), "")
        try:
            desk.edits.move(actor(), lead_id, to, reason)
        except LookupError:
            abort(404)
        except Unreadable:  # lost, and nobody has said why: it is asked
            told = words.say(gate.language(), "crm.lost_why")
            if by_script:
                return make_response(jsonify(ask="reason", message=told), 422)
            found = desk.desk.lead(actor().business_id, lead_id)
            assert found is not None
            reasons = desk.desk.lost_reasons(actor().business_id)
            page = render_template("desk/lost.html", section="leads", lead=found.lead, reasons=reasons, back=back)
            return make_response(page, 422)
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
        note, due = request.form.get("note", ""), request.form.get("soon") or request.form.get("due", "")
        kind = asked.word(TaskKind, request.form.get("kind", "")) or TaskKind.CALLBACK
        who = asked.row(request.form.get("assignee", "")) or None
        return changed(
            lead_id, lambda: desk.edits.add_task(actor(), lead_id, note, due, kind=kind, assignee=who), "saved"
        )

    @views.post("/leads/<int:lead_id>/value")
    @needs(Permission.EDIT)
    def value_lead(lead_id: int) -> AnyResponse:
        value = request.form.get("value", "")
        return changed(lead_id, lambda: desk.edits.set_value(actor(), lead_id, value), "saved")

    @views.post("/leads/<int:lead_id>/tags")
    @needs(Permission.EDIT)
    def tag_lead(lead_id: int) -> AnyResponse:
        names = request.form.get("tags", "")
        return changed(lead_id, lambda: desk.edits.set_tags(actor(), lead_id, names), "saved")


def _open_users(desk: DeskParts) -> list[object]:
    return [user for user in desk.access.users(actor().business_id) if user.active]
