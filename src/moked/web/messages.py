"""Webhooks of the official channels: what people write, and how far our messages came.

Answered with 200 when it is stored, or is nothing of ours; with 500 when it could not be stored, and then the carrier
says it again. What comes twice is one message.
"""

import hmac
from datetime import UTC, datetime

from flask import Blueprint, Response, request

from moked.channels import Inbound, Report
from moked.channels.official_webhooks import of_meta, of_twilio, signed_by_meta
from moked.web.parts import MessageParts, WebParts
from moked.web.signed import plain, refused


def blueprint(parts: WebParts, messages: MessageParts) -> Blueprint:
    """`/webhook/whatsapp` for Meta, `/webhook/message` for Twilio."""
    views = Blueprint("messages", __name__, url_prefix="/webhook")

    def store(told: Inbound | Report) -> None:
        match told:
            case Inbound():
                stored = messages.inbox.receive(parts.business_id, told)
                if stored.new:
                    parts.message_came(stored.conversation_id)
            case Report():
                if messages.inbox.reported(parts.business_id, told):
                    parts.message_came(0)

    @views.get("/whatsapp")
    def verify() -> Response:
        """Meta asks once whether the address is ours."""
        token = request.args.get("hub.verify_token", "")
        known = messages.cloud_verify.encode()
        if not known or not hmac.compare_digest(token.encode(), known):
            return plain("The verify token is not ours.", 403)
        return Response(request.args.get("hub.challenge", "")[:200], mimetype="text/plain")

    @views.post("/whatsapp")
    def meta() -> Response:
        body = request.get_data()
        if not messages.cloud_phone_id or not signed_by_meta(
            body, request.headers.get("X-Hub-Signature-256", ""), messages.cloud_secret
        ):
            parts.count("webhook_refused", "wrong_signature")
            return plain("The signature does not match.", 403)
        try:
            told = of_meta(body, messages.cloud_phone_id)
        except (ValueError, TypeError, AttributeError):
            return plain("This is no notification.", 400)
        for one in told:
            store(one)
        return plain("ok", 200)

    @views.post("/message")
    def twilio() -> Response:
        if (no := refused(parts)) is not None:
            return no
        told = of_twilio(request.form, datetime.now(UTC))
        if told is not None and told.channel in messages.kinds:
            store(told)
        return Response("<Response/>", mimetype="text/xml")

    return views
