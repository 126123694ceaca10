"""What the board does with a call that runs: listen, instruct, take over, end, transfer. Scripts ask; answers are JSON.

Orders go by the database to the process that serves the call. Sound goes by that process's own socket, with a ticket
from here.
"""

from collections.abc import Callable

from flask import Blueprint, Response, jsonify, make_response, request

from moked import sockets
from moked.crm.leads import caller_phone
from moked.crm.live import LONGEST_WORD
from moked.crm.permissions import Permission
from moked.records import OrderKind
from moked.web.desk import gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts, WebParts


def add(views: Blueprint, parts: WebParts, desk: DeskParts) -> None:
    """`/calls/<sid>/listen`, `take-over`, `whisper`, `end`, `transfer`."""

    def on(sid: str, act: Callable[[], Response]) -> Response:
        try:
            return act()
        except LookupError:
            return _told("live.gone", 409)

    def admit(sid: str, *, talks: bool) -> Response:
        def act() -> Response:
            given = desk.live.ticket(actor(), sid, talks=talks)
            base, page = parts.public_base_url(), gate.page_url()
            url = sockets.address(given.media_url, sockets.SUPERVISE, base_url=base, page_url=page)
            return jsonify(token=given.token, url=url)

        return on(sid, act)

    def order(sid: str, kind: OrderKind, text: str, told: str) -> Response:
        def act() -> Response:
            desk.live.order(actor(), sid, kind, text)
            parts.ordered()
            return _told(told)

        return on(sid, act)

    @views.post("/calls/<sid>/listen")
    @needs(Permission.LISTEN)
    def listen(sid: str) -> Response:
        return admit(sid, talks=False)

    @views.post("/calls/<sid>/take-over")
    @needs(Permission.TAKE_OVER)
    def take_over(sid: str) -> Response:
        return admit(sid, talks=True)

    @views.post("/calls/<sid>/whisper")
    @needs(Permission.WHISPER)
    def whisper(sid: str) -> Response:
        text = " ".join(request.form.get("text", "").split())
        if not text or len(text) > LONGEST_WORD:
            return _told("live.no_text" if not text else "live.long_text", 400)
        return order(sid, OrderKind.WHISPER, text, "live.whispered")

    @views.post("/calls/<sid>/end")
    @needs(Permission.END_CALL)
    def end_call(sid: str) -> Response:
        return order(sid, OrderKind.END, "", "live.ending")

    @views.post("/calls/<sid>/transfer")
    @needs(Permission.TRANSFER)
    def transfer(sid: str) -> Response:
        """`number`; '' = the business's own."""
        typed = request.form.get("number", "").strip()
        number = caller_phone(typed) if typed else parts.transfer_number()
        if not number:
            return _told("live.no_number" if not typed else "live.bad_number", 400)
        return order(sid, OrderKind.TRANSFER, number, "live.transferring")


def _told(key: str, status: int = 200) -> Response:
    return make_response(jsonify(message=words.say(gate.language(), key)), status)
