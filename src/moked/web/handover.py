"""Connecting a caller to a person who knows what it is about: the webhooks of the second leg, and the way back.

    (the caller waits in a conference)   brief -> 1: taken, both are connected
                                               -> 2: instruction -> the caller comes back to the agent
                                               -> no key, a voicemail, busy, no answer: the same
    held -> the conference is over for the caller: hang up, or on with the agent

All but `held` come from the person's own call; the caller's is named in the address, which the signature covers. Only
the first answer of an attempt counts, whichever of the two sides it comes from.
"""

import logging
from urllib.parse import quote

from flask import Blueprint, Response, request

from moked import telephony
from moked.records import Handover, LeadDraft
from moked.web.parts import WebParts

log = logging.getLogger(__name__)

_LONGEST = 120  # letters of what is said about the caller: six seconds


def room(call_sid: str) -> str:
    return f"moked-{call_sid}"


def answer_url(base: str, call_sid: str) -> str:
    return _url(base, "brief", call_sid)


def status_url(base: str, call_sid: str) -> str:
    return _url(base, "owner_status", call_sid)


def summary(lead: LeadDraft) -> str:
    """Who calls and what for, in a breath: 'דנה לוי, מזגן לא מקרר ברמת גן.'"""
    parts = [part for part in (lead.name, lead.need) if part]
    text = ", ".join(parts) or "שיחה מלקוח"
    return f"{text[:_LONGEST].rstrip(' .,')}."


def add_views(views: Blueprint, parts: WebParts) -> None:
    """To the carrier's webhooks."""

    @views.post("/brief")
    def brief() -> Response:
        sid = request.args.get("call", "")
        lead = parts.crm.draft_of(sid)
        if lead is None:  # the caller has hung up
            return _twiml(telephony.hang_up())
        text = f"{summary(lead)} {telephony.PRESS}"
        return _twiml(telephony.brief(text, _here("choice", sid), voice=parts.voice))

    @views.post("/choice")
    def choice() -> Response:
        sid = request.args.get("call", "")
        match request.form.get("Digits", ""):
            case "1":
                if parts.crm.handed_over(sid, Handover.TAKEN, {}):
                    _count("taken")
                    return _twiml(telephony.join(room(sid)))
                return _twiml(telephony.hang_up())
            case "2":
                return _twiml(telephony.ask_instruction(_here("instruction", sid), voice=parts.voice))
            case _:
                _bring_back(sid, Handover.UNANSWERED, {"why": "no_key"})
                return _twiml(telephony.hang_up())

    @views.post("/instruction")
    def instruction() -> Response:
        url = request.form.get("RecordingUrl", "")
        _bring_back(request.args.get("call", ""), Handover.SENT_BACK, {"url": url} if url else {})
        return _twiml(telephony.say(telephony.THANKS, voice=parts.voice))

    @views.post("/owner_status")
    def owner_status() -> Response:
        status = request.form.get("CallStatus", "")
        if status not in ("queued", "initiated", "ringing", "in-progress"):
            _bring_back(request.args.get("call", ""), Handover.UNANSWERED, {"why": status})
        return Response(status=204)

    @views.post("/held")
    def held() -> Response:
        """Reached when the conference is over, or could not be: of a call that was taken there is nothing left."""
        sid = request.form["CallSid"]
        parts.crm.handed_over(sid, Handover.UNANSWERED, {"why": "no_conference"})
        if parts.crm.draft_of(sid) is None:
            return _twiml(telephony.hang_up())
        return _twiml(telephony.redirect(f"{parts.public_base_url()}/webhook/resume"))

    def _bring_back(sid: str, how: Handover, data: dict[str, str]) -> None:
        if parts.crm.handed_over(sid, how, data):
            _count(how.value)
            parts.redirect_call(sid, f"{parts.public_base_url()}/webhook/resume")

    def _count(how: str) -> None:
        parts.count("handover", how)

    def _here(name: str, sid: str) -> str:
        return _url(parts.public_base_url(), name, sid)


def _url(base: str, name: str, call_sid: str) -> str:
    return f"{base}/webhook/{name}?call={quote(call_sid)}"


def _twiml(document: str) -> Response:
    return Response(document, 200, mimetype="text/xml")
