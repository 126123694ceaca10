"""The front page: what happens now, what waits, what came today; and the day's figures for a big screen."""

from dataclasses import asdict

from flask import Blueprint, Response, jsonify, make_response, render_template

from moked.crm.live import Figures
from moked.crm.permissions import Permission, may
from moked.web.desk import gate
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts, WebParts

_SUPERVISION = (
    Permission.LISTEN,
    Permission.WHISPER,
    Permission.TAKE_OVER,
    Permission.END_CALL,
    Permission.TRANSFER,
)


def add(views: Blueprint, parts: WebParts, desk: DeskParts) -> None:
    """`/board`, `/board/figures`, `/wall`."""

    @views.get("/board")
    @needs(Permission.VIEW)
    def board() -> Response:
        today = desk.desk.today(actor().business_id, actor().timezone)
        page = render_template(
            "desk/board.html",
            section="board",
            today=today,
            now=desk.desk.now(),
            supervises=any(may(actor().role, one) for one in _SUPERVISION),
            follows_instructions=parts.follows_instructions,
            transfer_number=parts.transfer_number(),
        )
        return gate.with_sockets(make_response(page), desk)

    @views.get("/board/figures")
    @needs(Permission.VIEW)
    def figures() -> Response:
        return jsonify({**asdict(found := _figures()), "at": found.at.isoformat()})

    @views.get("/wall")
    @needs(Permission.VIEW)
    def wall() -> str:
        return render_template("desk/wall.html", section="wall", figures=_figures())

    def _figures() -> Figures:
        return desk.live.figures(actor().business_id, actor().timezone)
