"""The search of the whole desk: one box on every page, results in groups."""

from flask import Blueprint, render_template

from moked.crm.permissions import Permission
from moked.web.desk import asked
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/search`."""

    @views.get("/search")
    @needs(Permission.VIEW)
    def search() -> str:
        found = desk.desk.find(actor().business_id, asked.text())
        more = {kind.name.lower() for kind in (found.more if found else ())}
        return render_template("desk/search.html", section="search", found=found, text=asked.text(), more=more)
