"""The browser's phone: the agent, by the microphone of whoever looks at the page. No carrier, else a call like any.

POST /phone/calls            -> a place and a ticket, as a webhook gives them; the page opens the socket itself
POST /phone/calls/<sid>/next -> what comes after the stream, as the carrier would ask
POST /phone/calls/<sid>/over    the page has hung up
"""

import secrets
from typing import Any

from flask import Blueprint, Response, abort, jsonify, make_response, render_template, request
from sqlalchemy.orm import Session

from moked import sockets
from moked.crm import audit
from moked.crm.leads import caller_phone
from moked.crm.permissions import Permission
from moked.crm.service import Step
from moked.records import FROM_BROWSER, CallStart
from moked.web.desk import gate, words
from moked.web.desk.gate import actor, needs
from moked.web.desk.show import number as shown_number
from moked.web.parts import DeskParts, WebParts

_ACCOUNT = "AC" + "0" * 32
WITHHELD = "anonymous"


def add(views: Blueprint, parts: WebParts, desk: DeskParts) -> None:
    """`/phone` and its calls."""

    @views.get("/phone")
    @needs(Permission.PHONE)
    def phone() -> Response:
        return gate.with_sockets(make_response(render_template("desk/phone.html", section="phone")), desk)

    @views.post("/phone/calls")
    @needs(Permission.PHONE)
    def place_call() -> Response:
        """`caller`: a number to call as, if any."""
        typed = request.form.get("caller", "").strip()
        caller = caller_phone(typed) if typed else WITHHELD
        if not caller:
            return _refused("phone.bad_number", 400)
        sid = f"BR{secrets.token_hex(16)}"
        by = actor()

        def put_down(session: Session) -> None:
            audit.note(session, by, "phone.called", f"call:{sid}", desk.desk.now())

        reception = parts.crm.receive_call(
            CallStart(sid, _ACCOUNT, caller, "browser", FROM_BROWSER),
            by.business_id,
            reserve=True,
            here=parts.here(),
            also=put_down,
        )
        parts.count("browser_call", reception.refusal or "admitted")
        if not reception.ticket:
            return _refused(f"phone.refused.{reception.refusal}", 409)
        return jsonify(_stream(parts, sid, reception.ticket, reception.media_url))

    @views.post("/phone/calls/<sid>/next")
    @needs(Permission.PHONE)
    def next_stream(sid: str) -> Response:
        if not desk.live.own_call(actor(), sid):
            abort(404)
        media_url = parts.resume_ws_url(sid)
        go_on = parts.crm.resume_call(sid, serves=bool(media_url), may_wait=parts.may_wait())
        if go_on.ticket:
            return jsonify(_stream(parts, sid, go_on.ticket, media_url))
        if go_on.wait:
            return jsonify(wait=True)
        match go_on.step.step:
            case Step.HANG_UP:
                told = _say("phone.ended")
            case Step.TRANSFER:
                number = shown_number(go_on.step.number or parts.transfer_number())
                told = _say("phone.transferred", number=number)
            case Step.WAY_ON:
                told = _say("phone.broke")
        return jsonify(over=True, message=told)

    @views.post("/phone/calls/<sid>/over")
    @needs(Permission.PHONE)
    def over(sid: str) -> Response:
        if not desk.live.own_call(actor(), sid):
            abort(404)
        parts.crm.call_status(sid, "completed", {}, key="browser")
        return Response(status=204)


def _stream(parts: WebParts, sid: str, token: str, media_url: str) -> dict[str, Any]:
    """What the page needs to open the stream as the carrier would."""
    url = sockets.address(media_url, sockets.BROWSER, base_url=parts.public_base_url(), page_url=gate.page_url())
    return {"sid": sid, "account": _ACCOUNT, "token": token, "url": url}


def _refused(key: str, status: int) -> Response:
    return make_response(jsonify(message=_say(key)), status)


def _say(key: str, **values: object) -> str:
    return words.say(gate.language(), key, **values)
