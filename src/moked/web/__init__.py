"""The web plane: a Flask app that answers the carrier's webhooks, gives reports, and is the desk people work at.

It meets the media plane only in `crm.service`. Views are short and finite: they run in a small pool of threads.
"""

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from moked.web import calls, desk, home, messages, rollout, twilio
from moked.web.parts import DeskParts, MessageParts, WebParts
from moked.web.signed import plain

__all__ = ["DeskParts", "MessageParts", "WebParts", "create_app"]

_LARGEST_BODY = 64 * 1024  # Twilio's own requests are a few kilobytes


def create_app(parts: WebParts) -> Flask:
    """The WSGI app on `parts`."""
    app = Flask("moked.web", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = _LARGEST_BODY
    app.config["MAX_FORM_PARTS"] = 200
    app.register_blueprint(twilio.blueprint(parts))
    app.register_blueprint(calls.blueprint(parts))
    if parts.rollouts is not None:
        app.register_blueprint(rollout.blueprint(parts))
    if parts.messages is not None:
        app.register_blueprint(messages.blueprint(parts, parts.messages))
    if parts.desk is not None:
        app.register_blueprint(desk.blueprint(parts, parts.desk))
    app.register_blueprint(home.blueprint(parts))

    @app.errorhandler(HTTPException)
    def not_understood(error: HTTPException) -> Response:
        if desk.is_page(app):
            return desk.error_page(error)
        return plain(error.description or error.name, error.code or 400)

    @app.after_request
    def guarded(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return app
