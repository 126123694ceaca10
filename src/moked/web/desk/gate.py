"""The one gate of every page of the desk: who asks, may they, and does a change really come from our own page.

A view says what it needs with `needs`, or that it is `open_to_all`; one that says nothing is refused. A change (POST)
must carry the anti-forgery token, which follows from the secret in the browser's own cookie, and must come from our own
address. What a person may not do is 403, who is not logged in goes to the login page and back.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from flask import Blueprint, Request, Response, abort, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from moked import sockets
from moked.crm import passwords
from moked.crm.audit import Actor
from moked.crm.permissions import Permission, may
from moked.web.desk import words
from moked.web.parts import DeskParts, WebParts

SESSION: Final = "moked_session"
HOST_PREFIX: Final = "__Host-"
_FORM: Final = "moked_form"  # the secret of forms before there is a session
LANGUAGE: Final = "moked_language"
THEME: Final = "moked_theme"
THEMES: Final = ("light", "dark")
TOKEN_FIELD: Final = "csrf"  # noqa: S105  (names, no secrets)
TOKEN_HEADER: Final = "X-CSRF-Token"  # noqa: S105
_DRAINED: Final = 256 * 1024 * 1024  # of a body that is refused
_LONG_FORM: Final = 512 * 1024
_READ_AT_ONCE: Final = 1024 * 1024
_YEAR: Final = 365 * 24 * 3600
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

View = TypeVar("View", bound=Callable[..., Any])
_EVERYBODY: Final = "everybody"


def needs(permission: Permission) -> Callable[[View], View]:
    """Only for who has this permission."""

    def mark(view: View) -> View:
        view.needed = permission  # type: ignore[attr-defined]
        return view

    return mark


def takes_file(largest: int) -> Callable[[View], View]:
    """Its form may bring a file: `largest` bytes in all."""

    def mark(view: View) -> View:
        view.largest_body = largest  # type: ignore[attr-defined]
        return view

    return mark


def _let_in(largest: int) -> None:
    """Allow a large body, or read one that is too large to its end: browsers show no answer that comes before it."""
    request.max_content_length = largest
    request.max_form_memory_size = _READ_AT_ONCE  # counts what is left of a file's last line while the next is read
    if (request.content_length or 0) > largest:
        left = min(request.content_length or 0, _DRAINED)
        body = request.environ["wsgi.input"]
        while left > 0 and (part := body.read(min(left, 64 * 1024))):
            left -= len(part)
        abort(413)


def open_to_all(view: View) -> View:
    view.needed = _EVERYBODY  # type: ignore[attr-defined]
    return view


def long_form(view: View) -> View:
    """For texts of some length: a letter of Hebrew is six bytes of a form."""
    view.largest = _LONG_FORM  # type: ignore[attr-defined]
    return view


def actor() -> Actor:
    """Who asks; only in views that need a permission."""
    found = g.actor
    assert isinstance(found, Actor)
    return found


def language() -> str:
    chosen = request.cookies.get(LANGUAGE, "")
    return chosen if chosen in words.LANGUAGES else words.DEFAULT


def theme() -> str:
    """'light', 'dark', or '' for what the system says."""
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else ""


def form_token() -> str:
    """What a form of this page must send back."""
    return passwords.form_token(g.session_token or g.form_secret)


def guard(views: Blueprint, parts: WebParts, desk: DeskParts) -> None:
    """Put the gate before all of `views`, and the headers after."""

    def ours(address: str) -> bool:
        return urlsplit(address).netloc in (request.host, urlsplit(parts.public_base_url()).netloc)

    @views.before_request
    def check() -> AnyResponse | None:
        g.session_token = _cookie(parts, SESSION)
        g.actor = desk.access.actor(g.session_token) if g.session_token else None
        g.form_secret = _cookie(parts, _FORM)
        if g.actor is None:
            g.session_token = ""
            g.form_secret = g.form_secret or passwords.token()
        public = parts.public_base_url()
        g.base_url = public if urlsplit(public).netloc == request.host else request.host_url.rstrip("/")
        view = current_app.view_functions[request.endpoint or ""]
        needed = getattr(view, "needed", None)
        largest: int = getattr(view, "largest_body", 0)
        if largest and g.actor is not None and needed is not None and may(g.actor.role, needed):
            _let_in(largest)
        if needed is None:
            abort(403)
        if largest := getattr(view, "largest", 0):
            request.max_content_length = request.max_form_memory_size = largest
        if request.method not in ("GET", "HEAD", "OPTIONS"):
            sent = request.headers.get(TOKEN_HEADER) or request.form.get(TOKEN_FIELD, "")
            origin = request.headers.get("Origin")
            if needed is not _EVERYBODY and g.actor is None:
                return _to_login()
            if (origin is not None and not ours(origin)) or not passwords.same(sent, form_token()):
                abort(400, words.say(language(), "error.form"))
        if needed is _EVERYBODY:
            return None
        if g.actor is None:
            return _to_login()
        if not may(g.actor.role, needed):
            abort(403)
        return None

    @views.after_request
    def finish(response: Response) -> Response:
        if g.get("form_secret") and g.get("actor") is None and _cookie(parts, _FORM) != g.form_secret:
            set_cookie(response, parts, _FORM, g.form_secret)
        return protected(response)


def page_url() -> str:
    """The address the browser has for us."""
    scheme = "https" if request.is_secure or urlsplit(g.base_url).scheme == "https" else "http"
    return f"{scheme}://{request.host}"


def with_sockets(response: Response, desk: DeskParts) -> Response:
    """The page may open sockets to the media processes, and to no other address."""
    found = [page_url(), *desk.live.node_addresses()]
    allowed = " ".join(dict.fromkeys(["'self'", *(sockets.origin(one) for one in found)]))
    response.headers["Content-Security-Policy"] = POLICY.replace("connect-src 'self'", f"connect-src {allowed}")
    return response


def style_nonce() -> str:
    """For a script of ours that brings a style of its own: what this page's policy lets through, once."""
    g.style_nonce = g.get("style_nonce") or secrets.token_urlsafe(16)
    return str(g.style_nonce)


def protected(response: Response) -> Response:
    """The headers of a page. Its own address may be told to itself: browsers else hide where a form came from."""
    nonce = g.get("style_nonce")
    policy = POLICY.replace("style-src 'self'", f"style-src 'self' 'nonce-{nonce}'") if nonce else POLICY
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), payment=(), microphone=(self)")
    return response


def set_cookie(response: AnyResponse, parts: WebParts, name: str, value: str, *, max_age: int | None = None) -> None:
    """A cookie no script can read; over https alone, where the page came over https."""
    secure = _over_https(request, parts)
    name = _named(name, secure=secure)
    response.set_cookie(name, value, max_age=max_age, httponly=True, samesite="Lax", secure=secure, path="/")


def drop_session(response: AnyResponse, parts: WebParts) -> None:
    """The browser forgets its session."""
    secure = _over_https(request, parts)
    response.delete_cookie(_named(SESSION, secure=secure), path="/", httponly=True, samesite="Lax", secure=secure)


def _named(name: str, *, secure: bool) -> str:
    """Over https the session's cookies are ours alone: no neighbour under our domain can set them (RFC 6265bis)."""
    return f"{HOST_PREFIX}{name}" if secure and name in (SESSION, _FORM) else name


def _cookie(parts: WebParts, name: str) -> str:
    return request.cookies.get(_named(name, secure=_over_https(request, parts)), "")


def remember(response: AnyResponse, parts: WebParts, name: str, value: str) -> None:
    set_cookie(response, parts, name, value, max_age=_YEAR)


def safe_next(target: str, otherwise: str) -> str:
    """A path of ours to go on to; anything else, another host above all, is not followed."""
    parsed = urlsplit(target)
    fine = target.startswith("/") and not target.startswith(("//", "/\\")) and not parsed.netloc and not parsed.scheme
    return target if fine and all(c.isprintable() for c in target) else otherwise


def _over_https(asked: Request, parts: WebParts) -> bool:
    public = urlsplit(parts.public_base_url())
    return asked.is_secure or (public.scheme == "https" and public.netloc == asked.host)


def _to_login() -> AnyResponse:
    if request.headers.get(TOKEN_HEADER):  # a script of ours asks
        abort(401)
    target = request.full_path.rstrip("?") if request.method == "GET" else ""
    return redirect(url_for("desk.login", next=target or None))
