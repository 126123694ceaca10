"""The API for programs: the desk's daily work, under `/api/v1`, for whoever has a key.

    layer      the gate: key, rate, scope, models, versions, repeated requests     problems  cursors  limits (pure)
    openapi    the description, made from what is served (pure)                    schemas   what resources share
    leads lead_setup contacts calls tasks calendar people rollout webhooks
               a resource is one file: models, and functions on `crm`

A new resource is a file with `add(api, parts)`, and its name in `RESOURCES`; description, tests of roles and of
businesses, and the fuzzing see it by themselves.
"""

from functools import cache
from typing import Any

from flask import Blueprint, Response, jsonify, render_template
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException

from moked import __version__
from moked.web.api import calendar, calls, contacts, lead_setup, leads, people, rollout, tasks, webhooks
from moked.web.api.layer import PREFIX, Api, broke, guarded, of_http
from moked.web.api.layer import answered as problem_answer
from moked.web.api.openapi import document
from moked.web.api.problems import KINDS, Problem
from moked.web.desk.gate import protected
from moked.web.parts import ApiParts, WebParts

__all__ = ["PREFIX", "blueprint", "of_http"]

RESOURCES = (leads, lead_setup, contacts, calls, tasks, calendar, people, rollout, webhooks)


def blueprint(web: WebParts, parts: ApiParts) -> Blueprint:
    """`/api/v1/...`."""
    views = Blueprint("api", __name__, url_prefix=PREFIX, template_folder="templates")
    api = Api(views, parts.keys, a_minute=parts.a_minute)
    for resource in RESOURCES:
        resource.add(api, parts)
    views.record(lambda state: state.app.extensions.update(moked_api=api.operations))

    @cache
    def described() -> dict[str, Any]:
        return document(api.operations, version=__version__, server=PREFIX)

    @views.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(described())

    @views.get("/docs")
    def docs() -> Response:
        page = render_template("api/docs.html", about=described(), kinds=KINDS, prefix=PREFIX, prose=_prose)
        return protected(Response(page, mimetype="text/html"))

    views.register_error_handler(Problem, problem_answer)
    views.register_error_handler(HTTPException, of_http)
    views.register_error_handler(Exception, broke)
    views.after_request(guarded)
    return views


def _prose(text: str) -> Markup:
    """The little Markdown of our own descriptions: paragraphs, lists, **bold**, *emphasis*, `code`."""
    blocks = []
    for block in text.split("\n\n"):
        lines = block.replace("\n  ", " ").splitlines()
        if lines and all(line.startswith("- ") for line in lines):
            items = "".join(f"<li>{_spans(line[2:])}</li>" for line in lines)
            blocks.append(f'<ul class="list-disc ps-5 my-2">{items}</ul>')
        else:
            blocks.append(f'<p class="my-2">{_spans(" ".join(lines))}</p>')
    return Markup("".join(blocks))  # noqa: S704  (every text in it was escaped)


def _spans(text: str) -> str:
    out = str(escape(text))
    for mark, tag in (("**", "strong"), ("`", "code"), ("*", "em")):
        pieces = out.split(mark)
        if len(pieces) % 2:
            out = "".join(
                piece if number % 2 == 0 else f"<{tag}>{piece}</{tag}>" for number, piece in enumerate(pieces)
            )
    return out
