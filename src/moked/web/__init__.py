"""The web plane: a Flask app that answers the carrier's webhooks, gives reports, and is the desk people work at.

It meets the media plane only in `crm.service`. Views are short and finite: they run in a small pool of threads.
"""

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter

from moked.web import api, calls, desk, home, messages, rollout, twilio
from moked.web.parts import AgentParts, ApiParts, DeskParts, MessageParts, Office, PrivacyParts, WebParts
from moked.web.signed import plain

__all__ = [
    "AgentParts",
    "ApiParts",
    "DeskParts",
    "MessageParts",
    "Office",
    "PrivacyParts",
    "WebParts",
    "create_app",
]

_LARGEST_BODY = 64 * 1024  # Twilio's own requests are a few kilobytes


class RowConverter(IntegerConverter):
    """`<int:...>`: a row's number. A larger one is no row, and must not reach the database."""

    regex = r"(?:[01]?\d{1,9}|20\d{8})"


def create_app(parts: WebParts) -> Flask:
    """The WSGI app on `parts`."""
    app = Flask("moked.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = _LARGEST_BODY
    app.config["MAX_FORM_PARTS"] = 200
    app.url_map.converters["int"] = RowConverter
    app.register_blueprint(twilio.blueprint(parts))
    app.register_blueprint(calls.blueprint(parts))
    if parts.rollouts is not None:
        app.register_blueprint(rollout.blueprint(parts))
    if parts.messages is not None:
        app.register_blueprint(messages.blueprint(parts, parts.messages))
    if parts.desk is not None:
        app.register_blueprint(desk.blueprint(parts, parts.desk))
    if parts.desk is not None and parts.api is not None:
        app.register_blueprint(api.blueprint(parts, parts.api))
    app.register_blueprint(home.blueprint(parts))

    @app.errorhandler(HTTPException)
    def not_understood(error: HTTPException) -> Response:
        if request.path.startswith(f"{api.PREFIX}/"):
            return api.of_http(error)
        if desk.is_page(app):
            return desk.error_page(error)
        return plain(error.description or error.name, error.code or 400)

    @app.after_request
    def guarded(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("Cache-Control", "no-store")
        if parts.public_base_url().startswith("https://"):
            response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        return response

    return app
