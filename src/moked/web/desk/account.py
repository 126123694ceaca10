"""One's own account (password, second factor, sessions), everybody's accounts, and the audit log."""

from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked.crm import passwords
from moked.crm.access import Refused
from moked.crm.permissions import Permission, UserRole
from moked.web.desk import asked
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts


def add(views: Blueprint, desk: DeskParts) -> None:
    """`/account...`, `/users...`, `/audit`."""

    def own(refusal: str = "", secret: str = "", codes: list[str] | None = None) -> Response:
        secret = secret or passwords.new_totp_secret()
        page = render_template(
            "desk/account.html",
            section="account",
            sessions=desk.access.sessions(actor()),
            refusal=refusal,
            secret=secret,
            uri=(uri := passwords.totp_uri(secret, actor().email)),
            picture=passwords.qr_code(uri),
            codes=codes or [],
            second_factor=actor().second_factor or bool(codes),
        )
        return make_response(page, 400 if refusal else 200)

    @views.get("/account")
    @needs(Permission.SELF)
    def account() -> Response:
        return own()

    @views.post("/account/password")
    @needs(Permission.SELF)
    def change_password() -> AnyResponse:
        form = request.form
        if form.get("password", "") != form.get("again", ""):
            return own("again")
        try:
            desk.access.change_password(actor(), form.get("old", ""), form.get("password", ""))
        except Refused as refusal:
            return own(str(refusal))
        return redirect(url_for("desk.account", told="password"))

    @views.post("/account/totp")
    @needs(Permission.SELF)
    def turn_totp() -> AnyResponse:
        """Turn the second factor on (`secret` and a `code` of it), or off."""
        form = request.form
        try:
            if form.get("on") != "1":
                desk.access.turn_off_totp(actor(), form.get("old", ""))
                return redirect(url_for("desk.account", told="totp_off"))
            secret = form.get("secret", "")[:64]
            codes = desk.access.turn_on_totp(actor(), form.get("old", ""), secret, form.get("code", ""))
        except Refused as refusal:
            return own(str(refusal), form.get("secret", "")[:64])
        return own(codes=codes)

    @views.post("/account/sessions")
    @needs(Permission.SELF)
    def revoke_sessions() -> AnyResponse:
        """End `session`, or with none all the others."""
        desk.access.revoke(actor(), asked.row(request.form.get("session", "")))
        return redirect(url_for("desk.account", told="revoked"))

    def everybody(refusal: str = "", link: str = "", email: str = "") -> Response:
        page = render_template(
            "desk/users.html",
            section="users",
            users=desk.access.users(actor().business_id),
            refusal=refusal,
            link=link,
            email=email,
        )
        return make_response(page, 400 if refusal else 200)

    @views.get("/users")
    @needs(Permission.USERS)
    def users() -> Response:
        return everybody()

    @views.post("/users")
    @needs(Permission.USERS)
    def invite_user() -> Response:
        email, role = request.form.get("email", ""), asked.word(UserRole, request.form.get("role", ""))
        if role is None:
            abort(400)
        try:
            token = desk.access.invite(actor(), email, request.form.get("name", ""), role)
        except Refused as refusal:
            return everybody(str(refusal), email=email[:200])
        return everybody(link=_invitation(token), email=email.strip().lower())

    @views.post("/users/<int:user_id>/link")
    @needs(Permission.USERS)
    def invite_again(user_id: int) -> Response:
        try:
            token = desk.access.invite_again(actor(), user_id)
        except LookupError:
            abort(404)
        return everybody(link=_invitation(token))

    @views.post("/users/<int:user_id>")
    @needs(Permission.USERS)
    def change_user(user_id: int) -> AnyResponse:
        role = asked.word(UserRole, request.form.get("role", ""))
        if role is None:
            abort(400)
        try:
            desk.access.change_user(actor(), user_id, role=role, active=request.form.get("active") == "1")
        except LookupError:
            abort(404)
        except Refused as refusal:
            return everybody(str(refusal))
        return redirect(url_for("desk.users", told="saved"))

    @views.get("/audit")
    @needs(Permission.AUDIT)
    def audit() -> str:
        page = asked.page()
        rows, last = desk.access.audit_log(actor().business_id, page)
        return render_template("desk/audit.html", section="audit", rows=rows, number=min(page, last), last=last)


def _invitation(token: str) -> str:
    """As people reach us: behind a proxy that ends https, the request itself says http."""
    return f"{g.base_url}{url_for('desk.join', token=token)}"
