"""The front page: what happens now, what waits, what came today."""

from flask import Blueprint, render_template

from moked.crm.permissions import Permission
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/board`."""

    @views.get("/board")
    @needs(Permission.VIEW)
    def board() -> str:
        today = desk.desk.today(actor().business_id, actor().timezone)
        return render_template("desk/board.html", section="board", today=today, now=desk.desk.now())
