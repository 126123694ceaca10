"""The report of a call, for whoever holds the token: the caller simulator, and scripts of the operator."""

import re

from flask import Blueprint, Response, jsonify

from moked.web.parts import WebParts
from moked.web.signed import refused

_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def blueprint(parts: WebParts) -> Blueprint:
    """`/api/calls/<sid>`, signed as Twilio signs a GET: over the address, with no fields."""
    views = Blueprint("calls", __name__, url_prefix="/api/calls")

    @views.before_request
    def check() -> Response | None:
        return refused(parts)

    @views.get("/<sid>")
    def report(sid: str) -> tuple[Response, int]:
        """200 with the report ('ended' tells whether it is final), 404 until the call is known."""
        found = parts.crm.call_report(sid) if _SID.fullmatch(sid) else None
        if found is None:
            return jsonify(error="unknown_call", message="No such call is on record."), 404
        return jsonify(found), 200

    return views
