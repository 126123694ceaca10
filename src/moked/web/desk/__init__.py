"""The desk: what the people of a business work with all day. Server-rendered pages; scripts add dragging
and the live board.

    gate     who asks, may they, is it our own form     words    every text, by language
    entry    first run, login, invitations              board    the front page
    phone    the agent, by the browser's microphone     supervision   listen, instruct, take over, end, transfer
    account  one's own, everybody's, the audit log      leads inbox contacts calls tasks
    integrations  keys of the API, webhooks              calendar  one's tasks for calendar programs
    search   the whole desk               files  lists in and out    lead_setup  own fields, reasons, views
    jobs     work after calls, and what failed of it
    outreach messages, consents, sending hours and texts    campaigns  calls that we make
    show     values for people (pure)

A view parses, calls one function of `crm`, and renders.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, make_response, render_template, request, url_for
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from moked.crm import csv_files, lead_fields, passwords, workdays
from moked.crm.leads import Stage
from moked.crm.permissions import Permission, UserRole
from moked.errors import ProfileError
from moked.records import Outcome
from moked.web.desk import (
    account,
    agent_pages,
    analytics,
    board,
    calendar,
    calls,
    campaigns,
    contacts,
    entry,
    files,
    gate,
    hearing_pages,
    hearing_words,
    inbox,
    integrations,
    jobs,
    lead_setup,
    leads,
    listening,
    numbers_pages,
    outreach,
    phone,
    privacy,
    rehearsal_pages,
    search,
    settings_nav,
    show,
    supervision,
    tasks,
    words,
)
from moked.web.parts import DeskParts, WebParts

__all__ = ["blueprint", "error_page", "is_page"]

_HERE = Path(__file__).parent
_STATIC_FOR_S = 365 * 24 * 3600  # an address with a digest of its file may be kept
_FONTS_FOR_S = 24 * 3600  # those the style names have none


def blueprint(parts: WebParts, desk: DeskParts) -> Blueprint:
    """All pages of the desk, and its static files."""
    views = Blueprint("desk", __name__, template_folder="templates")
    gate.guard(views, parts, desk)
    entry.add(views, parts, desk)
    phone.add(views, parts, desk)
    for module in (board, supervision):
        module.add(views, parts, desk)
    for module in (leads, lead_setup, inbox, contacts, files, calls, tasks, search, account):
        module.add(views, desk)
    for module in (listening, jobs, outreach, campaigns, privacy):
        module.add(views, desk)
    if desk.agent is not None:
        agent_pages.add(views, desk, desk.agent)
        rehearsal_pages.add(views, desk, desk.agent)
        numbers_pages.add(views, parts, desk, desk.agent)
    if desk.analytics is not None:
        analytics.add(views, desk, desk.analytics)
    if parts.rollouts is not None:
        hearing_pages.add(views, parts, parts.rollouts)
    if parts.api is not None:
        integrations.add(views, parts.api)
        calendar.add(views, parts.api)

    @views.get("/static/<path:name>")
    @gate.open_to_all
    def static(name: str) -> Response:
        from flask import send_from_directory

        # A script that another one imports has no digest in its address: it is asked for anew.
        max_age = 0 if name.endswith(".js") else _FONTS_FOR_S
        answer = send_from_directory(_HERE / "static", name, max_age=max_age)
        if request.args.get("v"):
            answer.headers["Cache-Control"] = f"public, max-age={_STATIC_FOR_S}, immutable"
        return answer

    @views.errorhandler(ProfileError)
    def unreadable(error: ProfileError) -> Response:
        """The files of a business whose people look at its settings; its calls have told the log already."""
        return error_page(ServiceUnavailable())

    views.add_app_template_filter(datetime.fromisoformat, "moment")
    views.add_app_template_filter(lambda at: datetime.fromtimestamp(at, UTC), "from_unix")
    views.add_app_template_filter(hearing_words.read, "hearing_words")

    def stopped() -> bool:
        """Whether whoever looks should know of an address that events are not sent to any more."""
        actor = g.get("actor")
        mine = parts.api is not None and actor is not None and actor.may(Permission.INTEGRATIONS)
        return mine and parts.api is not None and parts.api.hooks.stopped(actor.business_id)

    @views.app_context_processor
    def tools() -> dict[str, Any]:
        return {
            "business_name": mine.business if (mine := g.get("actor")) is not None else parts.business_name,
            "stopped": stopped,
            "integrated": parts.api is not None,
            **_tools(desk),
        }

    return views


def is_page(app: Flask) -> bool:
    """Whether a person asks for a page, and not a machine for an answer."""
    machine = request.path.startswith(("/webhook/", "/api/"))
    return "desk" in app.blueprints and not machine and "text/html" in request.headers.get("Accept", "")


def error_page(error: HTTPException) -> Response:
    """What went wrong, in words, and a way on."""
    code = error.code or 500
    view: Any = current_app.view_functions.get(request.endpoint or "")
    file_too_big = code == 413 and hasattr(view, "largest_body")
    known = code if f"error.{code}" in words.catalogue(words.DEFAULT) else 500 if code >= 500 else 400
    own = (error.description or "") if code == 400 else ""
    told = (
        own
        if own in _own_words()
        else words.say(gate.language(), "bad_file.too_big" if file_too_big else f"error.{known}")
    )
    answer = make_response(render_template("desk/error.html", code=code, told=told), code)
    return gate.protected(answer)


@cache
def _own_words() -> frozenset[str]:
    return frozenset(text for language in words.LANGUAGES for text in words.catalogue(language).values())


@cache
def _notices(language: str) -> frozenset[str]:
    return frozenset(key.removeprefix("told.") for key in words.catalogue(language) if key.startswith("told."))


def _tools(desk: DeskParts) -> dict[str, Any]:
    """What templates may use."""
    language = gate.language()
    actor = g.get("actor")
    zone = actor.timezone if actor else "Asia/Jerusalem"
    say = partial(words.say, language)
    return {
        "t": say,
        "language": language,
        "direction": words.LANGUAGES[language],
        "theme": gate.theme(),
        "actor": actor,
        "may": lambda permission: actor is not None and actor.may(Permission(permission)),
        "has_privacy": desk.privacy is not None,
        "csrf": gate.form_token if "session_token" in g else lambda: "",
        "static": lambda name: url_for("desk.static", name=name, v=_digest(name)),
        "when": lambda moment: _when(say, moment, desk.desk.now(), zone),
        "now": desk.desk.now,
        "field_value": lambda moment: show.field_value(moment, zone),
        "number": show.number,
        "length": show.length,
        "seconds": show.seconds,
        "response_ms": show.response_ms,
        "split_heard": show.split_heard,
        **outreach.tools(desk),
        "stages": list(Stage),
        "outcomes": list(Outcome),
        "roles": list(UserRole),
        "shortest_password": passwords.SHORTEST,
        "here": request.full_path.rstrip("?"),
        "changed": _changed,
        "settings_sections": settings_nav.sections,
        "has": lambda endpoint: endpoint in current_app.view_functions,
        "notices": _notices(language),
        "money": show.money,
        "yes_no": (lead_fields.YES, lead_fields.NO),
        "activities": words.catalogue(language),
        "rest_day": lambda moment: workdays.rest(moment.astimezone(show.zone(zone)).date()),
        "soon": lambda: workdays.choices(desk.desk.now(), zone),
        "reminders": lambda: desk.desk.reminders(actor.business_id, actor.user_id) if actor else 0,
        "file_bytes": csv_files.MOST_BYTES,
        "inbox": desk.inbox,
        "linked": desk.linked,
        "unread": lambda: desk.inbox.unread(actor.business_id) if desk.inbox is not None and actor is not None else 0,
    }


def _when(say: Callable[..., str], moment: datetime | None, now: datetime, zone: str) -> Markup:
    if moment is None:
        return Markup("")
    shown = show.when(moment, now, zone)
    day = say(f"day.{shown.day}") if shown.day else f"{say(f'weekday.{shown.weekday}')} {shown.date}"
    return Markup('<time datetime="{}">{} <bdi dir="ltr">{}</bdi></time>').format(
        moment.isoformat(), escape(day), shown.time
    )


def _changed(**values: Any) -> str:
    """The address of this list with some of its filters changed; None takes one out."""
    query = {**request.args.to_dict(), **values}
    return url_for(
        request.endpoint or "desk.home",
        **(request.view_args or {}),
        **{name: value for name, value in query.items() if value not in (None, "")},
    )


@cache
def _digest(name: str) -> str:
    return hashlib.sha256((_HERE / "static" / name).read_bytes()).hexdigest()[:12]
