"""What this business asks about its leads: fields of its own, why leads are lost, and filters kept under a name."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.edits import Unreadable
from moked.crm.filters import LeadFilter
from moked.crm.lead_fields import FieldKind
from moked.crm.permissions import Permission
from moked.web.desk import asked, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/leads/setup`, `/leads/views`."""

    def setup_page(refusal: str = "", status: int = 200) -> Response:
        page = render_template(
            "desk/lead_setup.html",
            section="leads",
            own=desk.desk.lead_field_rows(actor().business_id),
            kinds=list(FieldKind),
            reasons=desk.desk.lost_reasons(actor().business_id),
            refusal=refusal,
            form=request.form,
        )
        return make_response(page, status)

    def changed(change: Callable[[], object]) -> AnyResponse:
        try:
            change()
        except LookupError:
            abort(404)
        except Unreadable as refusal:
            return setup_page(words.say(gate.language(), f"refused.{refusal}"), 400)
        return redirect(url_for("desk.lead_setup", told="saved"))

    @views.get("/leads/setup")
    @needs(Permission.SETUP)
    def lead_setup() -> Response:
        return setup_page()

    @views.post("/leads/setup/fields")
    @needs(Permission.SETUP)
    def add_lead_field() -> AnyResponse:
        kind = asked.word(FieldKind, request.form.get("kind", ""))
        if kind is None:
            abort(400)
        name, choices = request.form.get("name", ""), request.form.get("choices", "")
        return changed(lambda: desk.edits.add_lead_field(actor(), name, kind, choices))

    @views.post("/leads/setup/fields/<int:field_id>/remove")
    @needs(Permission.SETUP)
    def remove_lead_field(field_id: int) -> AnyResponse:
        return changed(lambda: desk.edits.remove_lead_field(actor(), field_id))

    @views.post("/leads/setup/reasons")
    @needs(Permission.SETUP)
    def set_lost_reasons() -> AnyResponse:
        text = request.form.get("reasons", "")
        return changed(lambda: desk.edits.set_lost_reasons(actor(), text))

    @views.post("/leads/views")
    @needs(Permission.VIEW)
    def save_view() -> AnyResponse:
        """The filters come as the fields of the list's own form; `board`: they are the board's."""
        query, board = LeadFilter.of_query(request.form).as_query(), request.form.get("board") == "1"
        try:
            desk.edits.save_view(
                actor(),
                request.form.get("name", ""),
                query,
                board=board,
                shared=request.form.get("shared") == "1",
            )
        except Unreadable as refusal:
            abort(400, words.say(gate.language(), f"refused.{refusal}"))
        values: dict[str, Any] = {**query, "told": "view"}
        return redirect(url_for("desk.leads_board" if board else "desk.leads", **values))

    @views.post("/leads/views/<int:view_id>/remove")
    @needs(Permission.VIEW)
    def remove_view(view_id: int) -> AnyResponse:
        try:
            desk.edits.remove_view(actor(), view_id)
        except LookupError:
            abort(404)
        return redirect(gate.safe_next(request.form.get("next", ""), url_for("desk.leads")))
