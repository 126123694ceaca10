"""How calls are heard, over HTTP: what holds, its history and its report; and changes. Signed as `/api/calls` is.

A change is a form, because the signature covers the fields of a form and no other body.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from moked.crm.rollouts import Rollouts
from moked.rollout.requests import Change, Refused, read_number, read_share, read_since, state
from moked.web.parts import WebParts
from moked.web.signed import refused

_BY = "api"


def blueprint(parts: WebParts) -> Blueprint:
    """`/api/rollout`. 400 `bad_request` with what would be right; 404 for a number without a rule."""
    views = Blueprint("rollout", __name__, url_prefix="/api/rollout")

    @views.before_request
    def check() -> Response | None:
        return refused(parts)

    @views.get("")
    def show() -> Response:
        return jsonify(_state(_rollouts(parts), parts))

    @views.route("", methods=["PUT", "POST"])
    def change() -> Response:
        """Fields: streaming=on|off; percent or number; for; why; by. Or rollback=true; or shadow=PERCENT."""
        return _changed(parts, lambda now: read_share(request.form.to_dict(), now=now))

    @views.delete("/numbers/<number>")
    def clear(number: str) -> Response:
        return _changed(parts, lambda now: read_number(number))

    @views.get("/history")
    def history() -> Response:
        return jsonify(changes=_rollouts(parts).history())

    @views.get("/report")
    def report() -> Response:
        """`since` such as 24h; `examples=1` adds callers' words."""
        since = read_since(request.args.get("since", "24h"))
        return jsonify(_rollouts(parts).report(since, examples=request.args.get("examples") == "1"))

    @views.errorhandler(Refused)
    def not_right(error: Refused) -> tuple[Response, int]:
        return jsonify(error="bad_request", message=str(error)), 400

    @views.errorhandler(LookupError)
    def no_rule(error: LookupError) -> tuple[Response, int]:
        return jsonify(error="unknown", message=str(error)), 404

    return views


def _changed(parts: WebParts, read: Callable[[int], Change]) -> Response:
    rollouts = _rollouts(parts)
    asked = read(rollouts.now())
    by = f"{_BY}:{request.form['by']}" if request.form.get("by") else _BY
    rollouts.change(lambda policy: asked.make(policy, by), by=by, what=asked.what, why=asked.why)
    parts.rollout_changed()
    return jsonify(_state(rollouts, parts))


def _state(rollouts: Rollouts, parts: WebParts) -> dict[str, Any]:
    stored = rollouts.load()
    return state(
        stored.version,
        stored.policy,
        default=parts.streaming_default,
        means=parts.streaming_means,
        now=rollouts.now(),
        last=rollouts.history(1),
    )


def _rollouts(parts: WebParts) -> Rollouts:
    assert parts.rollouts is not None
    return parts.rollouts
