"""How calls are heard, switched while they run: all, a share, one number; back at once; and what was changed."""

from typing import Final

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.permissions import Permission
from moked.crm.rollouts import Rollouts
from moked.rollout.requests import Change, Refused, read_number, read_share
from moked.web.desk import gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import WebParts

_DAY_S: Final = 24 * 3600
_HISTORY: Final = 30
FOR: Final = ("", "1h", "4h", "1d", "7d")
_FIELDS: Final = ("percent", "number", "for", "why", "rollback", "shadow", "streaming")


def add(views: Blueprint, parts: WebParts, rollouts: Rollouts) -> None:
    """`/settings/hearing`. The switch belongs to the business whose calls this server takes."""

    def ours() -> Rollouts:
        if actor().business_id != parts.business_id:
            abort(404)
        return rollouts

    def page(refusal: str = "") -> Response:
        store = ours()
        now = store.now()
        policy = store.load().policy.at(now)
        default = parts.streaming_default
        text = render_template(
            "desk/settings_hearing.html",
            section="settings",
            part_name="hearing",
            policy=policy,
            percent=(100 if default else 0) if policy.share is None else policy.share.streaming_percent,
            default=default,
            means=parts.streaming_means,
            guard=parts.guard,
            history=store.history(_HISTORY),
            live=store.report(_DAY_S)["live"],
            durations=FOR,
            refusal=refusal,
        )
        return make_response(text, 400 if refusal else 200)

    def changed(change: Change) -> AnyResponse:
        by = actor().name
        try:
            ours().change(lambda policy: change.make(policy, by), by=by, what=change.what, why=change.why)
        except Refused:
            return page(words.say(gate.language(), "hearing.too_many"))
        except LookupError:
            abort(404)
        parts.rollout_changed()
        return redirect(url_for("desk.settings_hearing", told="published"))

    @views.get("/settings/hearing")
    @needs(Permission.SETTINGS)
    def settings_hearing() -> Response:
        return page()

    @views.post("/settings/hearing")
    @needs(Permission.ROLLOUT)
    def change_hearing() -> AnyResponse:
        """The fields of `/api/rollout`: streaming with percent or number, and for; or rollback; or shadow."""
        fields = {name: request.form[name][:200] for name in _FIELDS if request.form.get(name)}
        try:
            change = read_share(fields, now=ours().now())
        except Refused:
            wrong = "hearing.wrong_number" if "number" in fields else "hearing.wrong_percent"
            return page(words.say(gate.language(), wrong))
        return changed(change)

    @views.post("/settings/hearing/number")
    @needs(Permission.ROLLOUT)
    def clear_hearing_number() -> AnyResponse:
        try:
            change = read_number(request.form.get("number", ""))
        except Refused:
            return page(words.say(gate.language(), "hearing.wrong_number"))
        return changed(change)
