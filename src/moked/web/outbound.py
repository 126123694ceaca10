"""The carrier's webhooks about calls that we make.

    the agent calls   outbound -> <Connect><Stream>, then as any call   | nobody's call: hang up
                      outbound_amd -> a machine: hung up                outbound_status -> the record
    a person clicked  bridge -> whom they get, <Dial>   bridge_done -> "no answer", or hang up

The row of the call (`crm.dialling`) is named in the address, which the signature covers. On record a call that we make
has the person at the other end as its `caller`, so that everything else finds them where it looks for people.
"""

import logging
from urllib.parse import quote

from flask import Blueprint, Response, request

from moked import telephony
from moked.crm.phone import to_e164
from moked.records import CallStart
from moked.web.parts import WebParts

log = logging.getLogger(__name__)

OUTBOUND = "outbound"


def url(base: str, name: str, dial_id: int) -> str:
    return f"{base}/webhook/{name}?dial={quote(str(dial_id))}"


def add_views(views: Blueprint, parts: WebParts) -> None:
    """To the carrier's webhooks."""

    @views.post("/outbound")
    def outbound() -> Response:
        sid = request.form["CallSid"]
        errand = None if parts.dialling is None else parts.dialling.answered(_dial(), sid)
        if errand is None:
            parts.count("outbound", "unknown")
            return _twiml(telephony.hang_up())
        start = CallStart(
            call_sid=sid,
            account_sid=request.form.get("AccountSid", "")[:64],
            caller=errand.number,
            called=request.form.get("From", "")[:128],
            direction=OUTBOUND,
            simulated=request.form.get("MokedSimulated", "").lower() == "true",
        )
        reception = parts.crm.receive_call(start, errand.business_id, reserve=True, here=parts.here())
        parts.count("outbound", reception.refusal or "admitted")
        if not reception.ticket:
            return _twiml(telephony.say(telephony.ALL_BUSY_OUT, voice=parts.voice))
        base = parts.public_base_url()
        return _twiml(
            telephony.connect_stream(
                reception.media_url,
                {"token": reception.ticket, "caller": start.caller, "called": start.called},
                f"{base}/webhook/stream_status",
                resume=f"{base}/webhook/resume",
            )
        )

    @views.post("/outbound_amd")
    def outbound_amd() -> Response:
        by, sid = request.form.get("AnsweredBy", ""), request.form["CallSid"]
        machine = by.startswith("machine") or by == "fax"
        parts.count("outbound_amd", "machine" if machine else "human" if by == "human" else "unknown")
        if machine and parts.dialling is not None and parts.dialling.machine(_dial(), sid):
            parts.hang_up_call(sid)
        return Response(status=204)

    @views.post("/outbound_status")
    def outbound_status() -> Response:
        sid, status = request.form["CallSid"], request.form.get("CallStatus", "")
        if parts.dialling is not None and status not in ("queued", "initiated", "ringing", "in-progress"):
            parts.crm.call_status(sid, status, {}, key=f"{status} outbound")
            parts.dialling.ended(_dial(), sid, status)
        return Response(status=204)

    @views.post("/bridge")
    def bridge() -> Response:
        errand = None if parts.dialling is None else parts.dialling.answered(_dial(), request.form["CallSid"])
        if errand is None:
            return _twiml(telephony.hang_up())
        done = url(parts.public_base_url(), "bridge_done", errand.dial_id)
        caller_id = to_e164(request.form.get("From", "")) or ""
        return _twiml(telephony.bridge(errand.number, caller_id, errand.name, done, voice=parts.voice))

    @views.post("/bridge_done")
    def bridge_done() -> Response:
        status = request.form.get("DialCallStatus", "")
        if parts.dialling is not None:
            parts.dialling.ended(_dial(), request.form["CallSid"], status)
        if status in ("completed", "answered"):
            return _twiml(telephony.hang_up())
        return _twiml(telephony.say(telephony.NOT_REACHED, voice=parts.voice))


def _dial() -> int:
    return request.args.get("dial", 0, int)


def _twiml(document: str) -> Response:
    return Response(document, 200, mimetype="text/xml")
