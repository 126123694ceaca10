"""From an HTTP request to a function of a resource, and back: the one gate of the API.

A resource says what an operation needs and looks like; all else is here. In this order: the key (401), how often (429),
the scope (403), query and body against their models (400, 415, 422), the version (`If-Match`, 412), and for a POST
whether it was done before (`Idempotency-Key`). Nothing here knows what a lead is.
"""

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, TypeVar

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from moked.crm.audit import Actor
from moked.crm.edits import Unreadable
from moked.crm.keys import Keys, OtherRequest, Reply
from moked.crm.leads import IllegalMove
from moked.crm.permissions import Permission
from moked.crm.versions import Stale
from moked.web.api.limits import Limiter
from moked.web.api.problems import Problem, of_status

log = logging.getLogger(__name__)

PREFIX: Final = "/api/v1"
DOCS: Final = f"{PREFIX}/docs"
_KEY: Final = re.compile(r"[!-~]{1,128}")
_TAG: Final = re.compile(r'\*|"([!#-~]{0,98})"')
_REFUSED_A_MINUTE: Final = 60
_AS_IT_IS: Final[Mapping[str, str]] = {}
_NONE: Final[Mapping[int, str]] = {}
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """A model with what only HTTP says: its version, where it is, one of the operation's other statuses."""

    model: BaseModel
    version: str = ""
    location: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """Bytes in place of a model, of the operation's media type."""

    data: bytes
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one address. `versioned`: its answer has an ETag, and a change takes `If-Match`. `others`: statuses
    of an `Answer` beside the usual one, and what they say. `media`: it gives a `File` of this type, and takes the key
    as the password of HTTP Basic too, which is all that calendar programs know.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    about: str
    needs: Permission
    gives: type[BaseModel] | None
    status: int
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    versioned: bool
    problems: tuple[str, ...]
    names: Mapping[str, str]
    others: Mapping[int, str]
    media: str


@dataclass(slots=True)
class Api:
    """Collects operations for one blueprint. `a_minute`: requests of a key."""

    views: Blueprint
    keys: Keys
    a_minute: int = 600
    clock: Callable[[], float] = time.monotonic
    operations: list[Operation] = field(default_factory=list)
    _limiter: Limiter = field(init=False)
    _refused: Limiter = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._limiter = Limiter(self.a_minute, max(20, self.a_minute // 6))
        self._refused = Limiter(_REFUSED_A_MINUTE, _REFUSED_A_MINUTE)

    def on(
        self,
        method: str,
        path: str,
        *,
        needs: Permission,
        gives: type[BaseModel] | None,
        status: int = 200,
        query: type[BaseModel] | None = None,
        body: type[BaseModel] | None = None,
        versioned: bool = False,
        problems: tuple[str, ...] = (),
        names: Mapping[str, str] = _AS_IT_IS,
        others: Mapping[int, str] = _NONE,
        media: str = "",
    ) -> Callable[[View], View]:
        """Serve `path` by the function below: it gets the actor, what stands in the path, and `query` and `body`.
        `names`: what the records call a field, where the body calls it otherwise.

        Its docstring's first line is the operation's summary. It returns a model, an `Answer`, or None for 204.
        """

        def add(view: View) -> View:
            summary, _, about = (view.__doc__ or "").strip().partition("\n")
            operation = Operation(
                method=method,
                path=path,
                name=view.__name__,
                tag=view.__module__.rpartition(".")[2],
                summary=summary.strip().rstrip("."),
                about=" ".join(about.split()),
                needs=needs,
                gives=gives,
                status=status,
                query=query,
                body=body,
                versioned=versioned,
                problems=problems,
                names=names,
                others=others,
                media=media,
            )
            self.operations.append(operation)

            def serve(**path_values: Any) -> Response:
                return self._serve(operation, view, path_values)

            self.views.add_url_rule(
                path, operation.name, serve, methods=[method], provide_automatic_options=False, strict_slashes=False
            )
            return view

        return add

    # ---- one request

    def _serve(self, operation: Operation, view: Callable[..., Any], values: dict[str, Any]) -> Response:
        by = self._who(basic=bool(operation.media))
        if not by.may(operation.needs):
            raise Problem("forbidden", f"This needs a key with the scope `{operation.needs.value}`.")
        values = {**values, **self._asked(operation)}
        if operation.versioned and request.method not in ("GET", "HEAD"):
            by = replace(by, expects=_expected())
        key = request.headers.get("Idempotency-Key") if operation.method == "POST" else None
        if key is None:
            return _response(operation, _called(operation, view, by, values))
        return self._once(by, key, lambda: _response(operation, _called(operation, view, by, values)))

    def _who(self, *, basic: bool) -> Actor:
        """Whose key it is, within how often they may ask. `basic`: it may be a password, beside whatever name."""
        address = f"address:{request.remote_addr}"
        with self._lock:
            wait = self._refused.wait(address, self.clock())
        if wait > 0:
            raise _limited(wait)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if basic and (given := request.authorization) is not None and given.type == "basic":
            scheme, token = "bearer", given.password or ""
        by = self.keys.actor(token.strip()) if scheme.lower() == "bearer" else None
        with self._lock:
            if by is None:
                self._refused.take(address, self.clock())
            else:
                wait = self._limiter.take(f"key:{by.key_id}", self.clock())
        if by is None:
            challenge = 'Basic realm="Moked", charset="UTF-8"' if basic else 'Bearer realm="Moked"'
            raise Problem("unauthenticated", headers={"WWW-Authenticate": challenge})
        if wait > 0:
            raise _limited(wait)
        return by

    def _asked(self, operation: Operation) -> dict[str, BaseModel]:
        found: dict[str, BaseModel] = {}
        if twice := sorted(name for name, values in request.args.lists() if len(values) > 1):
            raise Problem(
                "invalid", errors=[{"where": f"query.{name}", "what": "It is given twice."} for name in twice]
            )
        if operation.query is not None:
            found["query"] = _valid(
                "query", lambda model: model.model_validate(request.args.to_dict()), operation.query
            )
        elif request.args:
            names = sorted(request.args)
            raise Problem("invalid", errors=[{"where": f"query.{name}", "what": "It is not known."} for name in names])
        if operation.body is not None:
            if request.mimetype != "application/json":
                raise Problem("unsupported_media_type")
            data = request.get_data()
            found["body"] = _valid("body", lambda model: model.model_validate_json(data), operation.body)
        return found

    def _once(self, by: Actor, key: str, work: Callable[[], Response]) -> Response:
        if not _KEY.fullmatch(key):
            raise Problem(
                "bad_request", "Idempotency-Key: 1 to 128 letters, digits and signs of ASCII, without spaces."
            )
        asked = f"{request.method} {request.full_path}\n".encode() + request.get_data()
        try:
            before = self.keys.begin(by, key, hashlib.sha256(asked).hexdigest())
        except OtherRequest:
            raise Problem("idempotency_mismatch") from None
        if before is not None:
            if not before.status:
                raise Problem("in_progress", headers={"Retry-After": "1"})
            again = Response(before.body, before.status, mimetype="application/json")
            again.headers.update({**before.headers, "Idempotent-Replayed": "true"})
            return again
        try:
            response = work()
        except BaseException:
            self.keys.finish(by, key, None)
            raise
        kept = {name: response.headers[name] for name in ("Location", "ETag") if name in response.headers}
        self.keys.finish(by, key, Reply(response.status_code, kept, response.get_data(as_text=True)))
        return response


def _called(operation: Operation, view: Callable[..., Any], by: Actor, values: dict[str, Any]) -> Any:
    """The resource's function; what the records refuse becomes a problem."""
    try:
        return view(by, **values)
    except Stale:
        raise Problem("stale") from None
    except IllegalMove as error:
        raise Problem("illegal_move", f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    except Unreadable as error:
        name, names = str(error), operation.names
        where = names.get(name) or names.get(name.partition(".")[0], name)
        raise Problem("invalid", errors=[{"where": f"body.{where}", "what": "It cannot be used."}]) from None
    except LookupError as error:
        if type(error) is not LookupError:  # a bug of ours, not a row that is not there
            raise
        raise Problem("not_found") from None


def _response(operation: Operation, given: Any) -> Response:
    if given is None:
        return Response(status=204)
    if isinstance(given, File):
        file = Response(given.data, operation.status, mimetype=operation.media)
        file.headers["Content-Disposition"] = f'inline; filename="{given.name}"'
        file.set_etag(hashlib.sha256(given.data).hexdigest()[:20])
        file.make_conditional(request)
        return file
    answer = given if isinstance(given, Answer) else Answer(given)
    response = Response(answer.model.model_dump_json(), answer.status or operation.status, mimetype="application/json")
    if answer.version:
        response.set_etag(answer.version)
        if request.method in ("GET", "HEAD") and request.if_none_match.contains(answer.version):
            response.status_code, response.data = HTTPStatus.NOT_MODIFIED, b""
    if answer.location:
        response.headers["Location"] = PREFIX + answer.location
    return response


def _expected() -> str:
    given = request.headers.get("If-Match")
    if given is None:
        return ""
    if (tag := _TAG.fullmatch(given.strip())) is None:
        raise Problem("bad_request", "If-Match: one ETag as it was given, in its quotation marks, or `*`.")
    return "" if given.strip() == "*" else tag[1] or "-"


def _valid(where: str, read: Callable[[type[BaseModel]], BaseModel], model: type[BaseModel]) -> BaseModel:
    try:
        return read(model)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if any(one["type"] == "json_invalid" for one in found):
            raise Problem("bad_json") from None
        places = [
            {"where": ".".join((where, *(str(part) for part in one["loc"]))), "what": f"{one['msg']}."} for one in found
        ]
        raise Problem("invalid", errors=places[:20]) from None


def _limited(wait: float) -> Problem:
    return Problem("rate_limited", headers={"Retry-After": str(max(1, round(wait + 0.5)))})


# ---- errors


def answered(problem: Problem) -> Response:
    response = jsonify(problem.document(DOCS))
    response.status_code = problem.kind.status
    response.mimetype = "application/problem+json"
    response.headers.update(problem.headers)
    return guarded(response)


def of_http(error: HTTPException) -> Response:
    """An error that Flask raised itself, as a problem."""
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return answered(Problem(of_status(status), headers=headers))


def broke(error: Exception) -> Response:
    log.error("a request of the API failed", exc_info=error, extra={"endpoint": request.endpoint})
    return answered(Problem("internal"))


def guarded(response: Response) -> Response:
    """No browser shall take an answer for a page."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    return response
