"""Calls: the list, and one call: what was said and heard, how fast, by which engines, and what came of it."""

from flask import Blueprint, abort, render_template, request

from moked.crm.analytics import MODEL_USED, SWITCHED
from moked.crm.permissions import Permission, may
from moked.records import Outcome
from moked.web.desk import asked, show
from moked.web.desk.gate import actor, needs, style_nonce
from moked.web.parts import DeskParts

_TOLD_ELSEWHERE = (SWITCHED, MODEL_USED)


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/calls`, `/calls/<sid>`."""

    @views.get("/calls")
    @needs(Permission.VIEW)
    def calls() -> str:
        day, outcome = asked.day("day"), asked.word(Outcome, request.args.get("outcome", ""))
        found = desk.desk.calls(
            actor().business_id, actor().timezone, day=day, outcome=outcome, text=asked.text(), page=asked.page()
        )
        today = f"{desk.desk.now().astimezone(show.zone(actor().timezone)):%Y-%m-%d}"
        return render_template(
            "desk/calls.html", section="calls", page=found, day=day, outcome=outcome, text=asked.text(), today=today
        )

    @views.get("/calls/<sid>")
    @needs(Permission.VIEW)
    def call(sid: str) -> str:
        found = desk.desk.call(actor().business_id, sid)
        if found is None:
            abort(404)
        all_bars = [show.bars(turn) for turn in found.turns]
        may_listen = desk.recordings is not None and may(actor().role, Permission.LISTEN_RECORDING)
        recorded = desk.recordings.find(actor().business_id, sid) if may_listen and desk.recordings else None
        return render_template(
            "desk/call.html",
            section="calls",
            page=found,
            bars=dict(zip((turn.number for turn in found.turns), all_bars, strict=True)),
            scale=show.longest(all_bars),
            moments=show.MOMENTS,
            may_listen=may_listen,
            recorded=recorded,
            style_nonce=style_nonce() if recorded is not None else "",
            switches=[event for event in found.events if event.kind == SWITCHED],
            others=[event for event in found.events if event.kind not in _TOLD_ELSEWHERE],
        )
