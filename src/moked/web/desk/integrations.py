"""For programs: keys of the API, and where events are sent, with what became of each."""

import json
from functools import partial

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm import hooks, keys
from moked.crm.events import EVENTS
from moked.crm.permissions import SCOPES, Permission
from moked.web.desk import asked
from moked.web.desk.gate import actor, needs
from moked.web.parts import ApiParts

LASTING = (30, 90, 365)
"""Days a key may be good for; or until it is revoked."""


def add(views: Blueprint, parts: ApiParts) -> None:
    """`/keys...`, `/webhooks...`."""

    def all_keys(refusal: str = "", token: str = "") -> Response:
        page = render_template(
            "desk/keys.html",
            section="keys",
            keys=parts.keys.all(actor().business_id),
            scopes=[scope for scope in Permission if scope in SCOPES and actor().may(scope)],
            lasting=LASTING,
            now=parts.desk.now(),
            refusal=refusal,
            token=token,
        )
        return make_response(page, 400 if refusal else 200)

    @views.get("/keys")
    @needs(Permission.INTEGRATIONS)
    def api_keys() -> Response:
        return all_keys()

    @views.post("/keys")
    @needs(Permission.INTEGRATIONS)
    def make_key() -> Response:
        """`name`, any number of `scope`, and `days` ('' = until it is revoked). The page shows the key, once."""
        named = [asked.word(Permission, scope) for scope in request.form.getlist("scope")]
        days = request.form.get("days", "")
        try:
            scopes = {scope for scope in named if scope is not None}
            token = parts.keys.make(actor(), request.form.get("name", ""), scopes, asked.row(days) if days else None)
        except keys.Unusable as refusal:
            return all_keys(str(refusal))
        return all_keys(token=token)

    @views.post("/keys/<int:key_id>/revoke")
    @needs(Permission.INTEGRATIONS)
    def revoke_key(key_id: int) -> AnyResponse:
        try:
            parts.keys.revoke(actor(), key_id)
        except LookupError:
            abort(404)
        return redirect(url_for("desk.api_keys", told="saved"))

    def all_hooks(refusal: str = "") -> Response:
        page = render_template(
            "desk/webhooks.html",
            section="webhooks",
            hooks=parts.hooks.endpoints(actor().business_id),
            events=EVENTS,
            form=request.form if refusal else {},
            wanted=request.form.getlist("event") if refusal else EVENTS,
            refusal=refusal,
        )
        return make_response(page, 400 if refusal else 200)

    def one_hook(endpoint_id: int, refusal: str = "", secret: str = "") -> Response:
        try:
            found = parts.hooks.endpoint(actor().business_id, endpoint_id)
            before = asked.row(request.args.get("before", ""))
            rows = parts.hooks.deliveries(actor().business_id, endpoint_id, before=before, limit=26)
        except LookupError:
            abort(404)
        page = render_template(
            "desk/webhook.html",
            section="webhooks",
            hook=found,
            rows=rows[:25],
            older=rows[24].id if len(rows) > 25 else None,
            events=EVENTS,
            readable=partial(json.dumps, ensure_ascii=False, indent=2),
            refusal=refusal,
            secret=secret,
        )
        return make_response(page, 400 if refusal else 200)

    @views.get("/webhooks")
    @needs(Permission.INTEGRATIONS)
    def webhooks() -> Response:
        return all_hooks()

    @views.post("/webhooks")
    @needs(Permission.INTEGRATIONS)
    def add_webhook() -> AnyResponse:
        form = request.form
        try:
            made = parts.hooks.add(actor(), form.get("url", ""), form.get("name", ""), form.getlist("event"))
        except hooks.Unusable as refusal:
            return all_hooks(str(refusal))
        return redirect(url_for("desk.webhook", endpoint_id=made.id, told="saved"))

    @views.get("/webhooks/<int:endpoint_id>")
    @needs(Permission.INTEGRATIONS)
    def webhook(endpoint_id: int) -> Response:
        return one_hook(endpoint_id)

    @views.post("/webhooks/<int:endpoint_id>")
    @needs(Permission.INTEGRATIONS)
    def change_webhook(endpoint_id: int) -> AnyResponse:
        """`do`: 'save' (`url`, `name`, `event`s, `active`), 'remove', 'rotate', 'secret', 'ping', or 'replay'."""
        form, what = request.form, request.form.get("do", "")
        there = url_for("desk.webhook", endpoint_id=endpoint_id, told="saved")
        try:
            match what:
                case "save":
                    parts.hooks.change(
                        actor(),
                        endpoint_id,
                        url=form.get("url", ""),
                        name=form.get("name", ""),
                        events=form.getlist("event"),
                        active=form.get("active") == "1",
                    )
                case "remove":
                    parts.hooks.remove(actor(), endpoint_id)
                    there = url_for("desk.webhooks", told="saved")
                case "rotate":
                    parts.hooks.rotate(actor(), endpoint_id)
                    return one_hook(endpoint_id, secret=parts.hooks.secret(actor().business_id, endpoint_id))
                case "secret":
                    return one_hook(endpoint_id, secret=parts.hooks.secret(actor().business_id, endpoint_id))
                case "ping":
                    parts.hooks.ping(actor(), endpoint_id)
                case "replay":
                    parts.hooks.replay_failed(actor(), endpoint_id)
                case _:
                    abort(400)
        except LookupError:
            abort(404)
        except hooks.Unusable as refusal:
            return one_hook(endpoint_id, str(refusal))
        return redirect(there)

    @views.post("/webhooks/deliveries/<int:delivery_id>/replay")
    @needs(Permission.INTEGRATIONS)
    def replay_delivery(delivery_id: int) -> AnyResponse:
        try:
            endpoint_id = parts.hooks.replay(actor(), delivery_id)
        except LookupError:
            abort(404)
        return redirect(url_for("desk.webhook", endpoint_id=endpoint_id, told="saved"))
