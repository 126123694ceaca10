"""Twilio's webhooks. A view parses, calls one service function, and answers; nothing here decides about leads.

    incoming_call -> <Connect><Stream>, then <Redirect> to `resume`            | all busy: keys, or a message
    outbound, bridge ...                                                        (calls that we make: `outbound`)
    resume        -> <Connect><Stream> to whoever serves now | wait a moment, ask again
                     | hang up | a person | apology and way on
    callback_request -> we call this number, or that one                       (the keys of who was refused)
    dial_result   -> hang up | nobody free, leave a message
    voicemail     -> thanks
    call_status, stream_status -> stored

Whatever fails, a caller hears Hebrew and gets a way on: to an error page Twilio would say "an application error".
"""

import logging
import re
from dataclasses import replace

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import HTTPException

from moked import telephony
from moked.crm.leads import caller_phone
from moked.crm.phone import to_e164
from moked.crm.places import Refusal
from moked.crm.service import Step
from moked.crm.settle import ANSWERED, DIAL_RESULT, VOICEMAIL
from moked.records import CallStart
from moked.telephony import CallbackOffer, WayOn
from moked.web import handover, outbound
from moked.web.parts import Office, WebParts
from moked.web.signed import plain, refused

log = logging.getLogger(__name__)

SIMULATED = "MokedSimulated"
"""Form field of a rehearsal call ('true'); it is signed like any other, so nobody else can set it."""

_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_ADDRESS = 128
_WAIT_S = 1  # between two questions whether somebody serves
_TRIES = 3  # to type a number; then a message may be left
_UNNEEDED = ("CallSid", "AccountSid", "ApiVersion", "From", "To", "Caller", "Called")  # the call has them already


def blueprint(parts: WebParts) -> Blueprint:
    """All of `/webhook/...`."""
    views = Blueprint("twilio", __name__, url_prefix="/webhook")

    @views.before_request
    def check() -> Response | None:
        if (no := refused(parts)) is not None:
            return no
        if not _SID.fullmatch(request.form.get("CallSid", "")):
            parts.count("webhook_refused", "no_call_sid")
            log.warning("request refused: it names no call", extra={"path": request.path})
            return plain("CallSid is missing or malformed.", 400)
        return None

    @views.post("/incoming_call")
    def incoming_call() -> Response:
        start = _start()
        reception = parts.crm.receive_call(start, _office(parts).business_id, reserve=True, here=parts.here())
        parts.count("incoming_call", reception.refusal or "admitted")
        log.info(
            "incoming call",
            extra={
                "call_sid": start.call_sid,
                "answer": reception.refusal or "admitted",
                "simulated": start.simulated,
                "pii_caller": start.caller,
            },
        )
        then = _way_on(parts)
        if reception.ticket:
            return _twiml(
                telephony.connect_stream(
                    reception.media_url,
                    {"token": reception.ticket, **_parties()},
                    _url(parts, "stream_status"),
                    resume=_url(parts, "resume"),
                )
            )
        if reception.refusal == "ended":  # Twilio asks again about a call we gave up: it must not end in silence
            return _twiml(telephony.way_on(then))
        opening = telephony.ALL_BUSY if reception.refusal == Refusal.OVERLOAD else telephony.CANNOT_NOW
        return _twiml(telephony.refuse(_offer(parts, 1), opening))

    @views.post("/callback_request")
    def callback_request() -> Response:
        """`asked`: how often the caller was asked for keys, so that a repeated request is told from a second thought.
        `said`: a number was read back, and '1' means that it is right."""
        digits, caller = request.form.get("Digits", ""), caller_phone(request.form.get("From", ""))
        asked, said = request.args.get("asked", 1, int), "said" in request.args
        offer, typed = _offer(parts, asked + 1), to_e164(digits) or ""
        if digits in ("0", "1") and said:
            return _twiml(telephony.say(telephony.GOODBYE, voice=parts.voice))
        if digits == "0" and (person := _office(parts).person()):
            parts.count("callback_request", "person")
            return _twiml(telephony.dial(person, offer.then))
        number = caller if digits == "1" else typed if typed.startswith("+") else ""
        if number:
            parts.count("callback_request", "this_number" if number == caller else "other_number")
            parts.crm.request_callback(request.form["CallSid"], number, key=f"{asked} {number}")
            back = replace(offer, action=f"{offer.action}&said=1")
            return _twiml(telephony.callback_promised(back, "" if digits == "1" else number))
        parts.count("callback_request", "not_a_number")
        if asked >= _TRIES:
            return _twiml(telephony.voicemail(offer.then, telephony.NOT_A_NUMBER))
        return _twiml(telephony.refuse(offer, telephony.NOT_A_NUMBER))

    @views.post("/resume")
    @views.post("/after_stream")  # its former name: calls that began before an update ask by it
    def resume() -> Response:
        then, sid = _way_on(parts), request.form["CallSid"]
        media_url = parts.resume_ws_url(sid)
        go_on = parts.crm.resume_call(sid, serves=bool(media_url), may_wait=parts.may_wait())
        answer = "resumed" if go_on.ticket else "wait" if go_on.wait else go_on.refusal
        parts.count("resume", answer)
        log.info("the stream of a call has ended", extra={"call_sid": sid, "answer": answer})
        if go_on.ticket:
            return _twiml(
                telephony.connect_stream(
                    media_url,
                    {"token": go_on.ticket, **_parties()},
                    _url(parts, "stream_status"),
                    resume=_url(parts, "resume"),
                )
            )
        if go_on.wait:
            return _twiml(telephony.ask_again(_url(parts, "resume"), after_s=_WAIT_S))
        go = go_on.step
        match go.step:
            case Step.HANG_UP:
                return _twiml(telephony.hang_up())
            case Step.TRANSFER if number := go.number or _office(parts).transfer_number:
                return _twiml(telephony.dial(number, then))
            case Step.TRANSFER | Step.WAY_ON:
                return _twiml(telephony.way_on(then))

    handover.add_views(views, parts)
    outbound.add_views(views, parts)

    @views.post("/dial_result")
    def dial_result() -> Response:
        status = request.form.get("DialCallStatus", "")
        key = request.form.get("DialCallSid") or status
        parts.crm.add_event(request.form["CallSid"], DIAL_RESULT, {"status": status, **_reported()}, key=key)
        if status in ANSWERED:
            return _twiml(telephony.hang_up())
        return _twiml(telephony.voicemail(_way_on(parts), telephony.NOBODY_FREE))

    @views.post("/voicemail")
    def voicemail() -> Response:
        # Comes twice for one recording, as the verb's action and as its status callback: one key, one event.
        url = request.form.get("RecordingUrl", "")
        if not url or request.form.get("RecordingStatus", "completed") != "completed":
            return _twiml(telephony.say(telephony.GOODBYE, voice=parts.voice))
        data = {"url": url, "seconds": request.form.get("RecordingDuration", "")}
        parts.crm.add_event(request.form["CallSid"], VOICEMAIL, data, key=request.form.get("RecordingSid") or url)
        return _twiml(telephony.say(telephony.THANKS_FOR_MESSAGE, voice=parts.voice))

    @views.post("/call_status")
    def call_status() -> Response:
        status = request.form.get("CallStatus", "")
        key = f"{status} {request.form.get('SequenceNumber', '')}"
        parts.crm.call_status(request.form["CallSid"], status, _reported(), key=key)
        return Response(status=204)

    @views.post("/stream_status")
    def stream_status() -> Response:
        event = request.form.get("StreamEvent", "")
        if event == "stream-error":
            log.warning(
                "twilio reports a broken stream",
                extra={"call_sid": request.form["CallSid"], "error": request.form.get("StreamError", "")},
            )
        key = f"{event} {request.form.get('StreamSid', '')} {request.form.get('Timestamp', '')}"
        parts.crm.add_event(request.form["CallSid"], "stream_status", _reported(), key=key)
        return Response(status=204)

    @views.errorhandler(HTTPException)
    def not_understood(error: HTTPException) -> Response:
        return plain(error.description or error.name, error.code or 400)

    @views.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        name = (request.endpoint or "").rpartition(".")[2]
        parts.count("webhook_failed", name)
        log.error("webhook failed", exc_info=error, extra={"endpoint": name, "call_sid": request.form.get("CallSid")})
        if name in (
            "call_status",
            "stream_status",
            "owner_status",
            "outbound_status",
            "outbound_amd",
        ):  # nobody listens: let Twilio's debugger show it
            return plain("The report could not be stored.", 503)
        return _twiml(_last_words(parts, name))

    return views


def _last_words(parts: WebParts, endpoint: str) -> str:
    """What a caller hears when the view itself failed. Nobody is sent twice to what just failed them."""
    then = _way_on(parts)
    match endpoint:
        case "dial_result":
            return telephony.voicemail(then, telephony.NOBODY_FREE)
        case "callback_request":
            return telephony.voicemail(then)
        case "outbound" | "bridge" | "bridge_done":
            return telephony.say(telephony.ALL_BUSY_OUT, voice=parts.voice)
        case "voicemail":
            return telephony.say(telephony.THANKS_FOR_MESSAGE, voice=parts.voice)
        case _:
            return telephony.way_on(then)


def _start() -> CallStart:
    form = request.form
    return CallStart(
        call_sid=form["CallSid"],
        account_sid=form.get("AccountSid", "")[:64],
        caller=form.get("From", "")[:_LONGEST_ADDRESS] or "anonymous",
        called=form.get("To", "")[:_LONGEST_ADDRESS],
        direction=form.get("Direction", "inbound")[:16],
        simulated=form.get(SIMULATED, "").lower() == "true",
    )


def _office(parts: WebParts) -> Office:
    """Whose number was called; asked for once a request."""
    if "office" not in g:
        g.office = parts.office(request.form.get("To", ""))
    found = g.office
    assert isinstance(found, Office)
    return found


def _parties() -> dict[str, str]:
    """For whoever looks at the stream's start message."""
    start = _start()
    return {"caller": start.caller, "called": start.called}


def _way_on(parts: WebParts) -> WayOn:
    return WayOn(
        voicemail_action=_url(parts, "voicemail"),
        transfer_number=_office(parts).transfer_number,
        dial_action=_url(parts, "dial_result"),
        voice=parts.voice,
    )


def _offer(parts: WebParts, asked: int) -> CallbackOffer:
    return CallbackOffer(
        action=f"{_url(parts, 'callback_request')}?asked={asked}",
        then=_way_on(parts),
        number_known=bool(caller_phone(request.form.get("From", ""))),
        person=bool(_office(parts).person()),
    )


def _url(parts: WebParts, name: str) -> str:
    return f"{parts.public_base_url()}/webhook/{name}"


def _reported() -> dict[str, str]:
    return {name: value for name, value in request.form.items() if name not in _UNNEEDED}


def _twiml(document: str) -> Response:
    return Response(document, 200, mimetype="text/xml")
