"""Coming in: the first owner's link, invitations, login and logout; and the choices of language and theme."""

from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm.access import Refused
from moked.crm.permissions import Permission
from moked.web.desk import gate, words
from moked.web.desk.gate import actor, needs, open_to_all
from moked.web.parts import DeskParts, WebParts


def add(views: Blueprint, parts: WebParts, desk: DeskParts) -> None:
    """`/login`, `/logout`, `/setup`, `/join`, `/preferences`."""

    @views.get("/login")
    @open_to_all
    def login() -> AnyResponse | str:
        if g.actor is not None:
            return redirect(url_for("desk.board"))
        return render_template("desk/login.html", refusal="", email="")

    @views.post("/login")
    @open_to_all
    def log_in() -> AnyResponse:
        email, code = request.form.get("email", ""), request.form.get("code", "")
        found = desk.access.log_in(
            email,
            request.form.get("password", ""),
            code,
            address=request.remote_addr or "",
            browser=request.headers.get("User-Agent", "")[:200],
        )
        if found.token:
            answer = redirect(gate.safe_next(request.args.get("next", ""), url_for("desk.board")))
            gate.set_cookie(answer, parts, gate.SESSION, found.token, max_age=30 * 24 * 3600)
            return answer
        page = render_template("desk/login.html", refusal=found.refusal, email=email[:200])
        return make_response(page, {"limited": 429, "code": 200}.get(found.refusal, 401))

    @views.post("/logout")
    @needs(Permission.SELF)
    def log_out() -> AnyResponse:
        desk.access.log_out(actor())
        answer = redirect(url_for("desk.login"))
        gate.drop_session(answer, parts)
        return answer

    @views.get("/setup")
    @open_to_all
    def setup() -> Response:
        good = desk.setup.fits(request.args.get("token", ""))
        return make_response(render_template("desk/setup.html", good=good, refusal=""), 200 if good else 404)

    @views.post("/setup")
    @open_to_all
    def set_up() -> AnyResponse:
        token, form = request.args.get("token", ""), request.form
        if not desk.setup.fits(token):
            return make_response(render_template("desk/setup.html", good=False, refusal=""), 404)
        newcomer = not desk.access.anybody()
        try:
            _repeated(form.get("password", ""), form.get("again", ""))
            desk.access.set_up_owner(
                parts.business_id, form.get("email", ""), form.get("name", ""), form.get("password", "")
            )
        except Refused as refusal:
            page = render_template("desk/setup.html", good=True, refusal=str(refusal))
            return make_response(page, 400)
        desk.setup.spend(token)
        return redirect(url_for("desk.login", told="set_up", next=url_for("desk.phone") if newcomer else None))

    @views.get("/join")
    @open_to_all
    def join() -> Response:
        email = desk.access.invited(request.args.get("token", ""))
        return make_response(render_template("desk/join.html", email=email, refusal=""), 200 if email else 404)

    @views.post("/join")
    @open_to_all
    def accept() -> AnyResponse:
        token, form = request.args.get("token", ""), request.form
        try:
            _repeated(form.get("password", ""), form.get("again", ""))
            desk.access.accept(token, form.get("password", ""))
        except Refused as refusal:
            email = desk.access.invited(token)
            page = render_template("desk/join.html", email=email, refusal=str(refusal))
            return make_response(page, 400 if email else 404)
        return redirect(url_for("desk.login", told="set_up"))

    @views.post("/preferences")
    @open_to_all
    def preferences() -> AnyResponse:
        """`language` and `theme` ('' = as the system), and `next`, where to go back to."""
        answer = redirect(gate.safe_next(request.form.get("next", ""), url_for("desk.board")))
        language, theme = request.form.get("language"), request.form.get("theme")
        if language is not None:
            if language not in words.LANGUAGES:
                abort(400)
            gate.remember(answer, parts, gate.LANGUAGE, language)
        if theme is not None:
            if theme not in ("", *gate.THEMES):
                abort(400)
            gate.remember(answer, parts, gate.THEME, theme)
        return answer


def _repeated(password: str, again: str) -> None:
    if password != again:
        raise Refused("again")
