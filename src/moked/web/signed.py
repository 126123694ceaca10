"""The gate of every address that Twilio, or whoever holds its token, may call: the signature.

The address is built from configuration, never from the request's own headers, which anybody can write.
"""

import logging

from flask import Response, request

from moked.telephony import SETTINGS_HEADER, SIGNATURE_HEADER, signature_valid
from moked.web.parts import WebParts

log = logging.getLogger(__name__)


def refused(parts: WebParts) -> Response | None:
    """403 for a request that is not signed with our token, None for one that is. Reads the body within its limit."""
    signature = request.headers.get(SIGNATURE_HEADER)
    query = request.query_string.decode("latin-1")
    url = parts.public_base_url() + request.path + (f"?{query}" if query else "")
    params = request.form.to_dict(flat=False)
    if signature_valid(parts.auth_token, url, params, signature, settings=request.headers.get(SETTINGS_HEADER, "")):
        return None
    reason = "no_auth_token" if not parts.auth_token else "wrong_signature" if signature else "no_signature"
    parts.count("webhook_refused", reason)
    log.warning(
        "request refused: it does not carry our signature",
        extra={"reason": reason, "signed_url": url, "method": request.method, "peer": request.remote_addr},
    )
    return plain(
        "The signature does not match. Check TWILIO_AUTH_TOKEN, and that PUBLIC_BASE_URL is the address the carrier "
        "calls, with the same scheme, host and port.",
        403,
    )


def plain(text: str, status: int) -> Response:
    return Response(text + "\n", status, mimetype="text/plain")
