"""The API's own description, OpenAPI 3.1, from the operations as they are served (pure)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from moked.web.api.problems import KINDS

_REF: Final = "#/components/schemas/{model}"
_CONVERTED: Final = re.compile(r"<(?:(\w+):)?(\w+)>")
_ALWAYS: Final = ("unauthenticated", "forbidden", "rate_limited", "internal")
_ROW: Final = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_WORD: Final = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9_-]+$"}
_WORDS: Final = {"number": {"type": "string", "pattern": "^[+][0-9]{3,15}$"}}
_ABOUT: Final = """
The desk's daily work, for programs. An owner makes a key at the desk, for the scopes it needs.

- **Keys**: `Authorization: Bearer mk_...`. A key acts for whoever made it and never does more than they may.
- **Lists** give `items` and `next`; send `next` back as `cursor` for the page after it, until it is null.
- **Changes** can say which version they mean: send the `ETag` you read as `If-Match`, and nothing that came in between
  is lost.
- **Again, but once**: a POST with an `Idempotency-Key` of your own is done once in a day, however often it is sent.
- **Errors** are `application/problem+json` with a stable `code`.
- **Times** are ISO 8601 in UTC; telephone numbers are E.164.
"""


def document(operations: Sequence[Any], *, version: str, server: str) -> dict[str, Any]:
    """The whole description. `operations` are `layer.Operation`s."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = []
    for one in operations:
        wanted += [(one.gives, "serialization")] if one.gives is not None else []
        wanted += [(model, "validation") for model in (one.query, one.body) if model is not None]
    unique = list(dict.fromkeys(wanted))
    found, definitions = models_json_schema(unique, ref_template=_REF)
    schemas: dict[str, Any] = dict(definitions.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    queries = set()
    for one in operations:
        parameters = [*_path_parameters(one.path)]
        if one.query is not None:
            name = _name(found[one.query, "validation"])
            queries.add(name)
            parameters += _query_parameters(schemas[name])
        parameters += _header_parameters(one)
        entry: dict[str, Any] = {
            "operationId": one.name,
            "tags": [one.tag],
            "summary": one.summary,
            "description": f"{one.about}\n\nScope: `{one.needs.value}`.".strip(),
            "security": [{"key": []}, *([{"password": []}] if one.media else [])],
            "parameters": parameters,
            "responses": _responses(one, found),
        }
        if one.body is not None:
            content = {"application/json": {"schema": found[one.body, "validation"]}}
            entry["requestBody"] = {"required": True, "content": content}
        paths.setdefault(_CONVERTED.sub(r"{\2}", one.path), {})[one.method.lower()] = entry
    for name in queries:
        schemas.pop(name)
    schemas["Problem"] = _problem()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Moked", "version": version, "description": _ABOUT.strip()},
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key made at the desk."},
                "password": {"type": "http", "scheme": "basic", "description": "The key as password, and any name."},
            },
        },
    }


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _path_parameters(path: str) -> Iterable[dict[str, Any]]:
    for kind, name in _CONVERTED.findall(path):
        schema = _ROW if kind == "int" else _WORDS.get(name, _WORD)
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(schema: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    required = schema.get("required", ())
    for name, given in schema.get("properties", {}).items():
        options = [option for option in given.get("anyOf", ()) if option.get("type") != "null"]
        plain = {key: value for key, value in given.items() if key not in ("anyOf", "title", "description", "default")}
        if len(options) == 1:
            plain |= options[0]
        if given.get("default") is not None:
            plain["default"] = given["default"]
        yield {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": given.get("description", ""),
            "schema": plain,
        }


def _header_parameters(one: Any) -> Iterable[dict[str, Any]]:
    if one.versioned and one.method != "GET":
        about = "The `ETag` you read: refused with 412 where it has changed since."
        yield {"name": "If-Match", "in": "header", "required": False, "description": about,
               "schema": {"type": "string", "maxLength": 100, "pattern": r'^(\*|"[!#-~]*")$'}}  # fmt: skip
    if one.method == "POST":
        about = "Your own word for this request; sent again within a day it is answered as the first time."
        yield {"name": "Idempotency-Key", "in": "header", "required": False, "description": about,
               "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"}}  # fmt: skip


def _responses(one: Any, found: Mapping[Any, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "As asked" if one.gives is not None else "Done"}
    if one.gives is not None:
        good["content"] = {"application/json": {"schema": found[one.gives, "serialization"]}}
    if one.media:
        good["content"] = {one.media: {"schema": {"type": "string"}}}
    if one.versioned:
        good["headers"] = {"ETag": {"description": "The version", "schema": {"type": "string"}}}
    responses: dict[str, Any] = {str(one.status if one.gives is not None or one.media else 204): good}
    responses |= {str(status): {**good, "description": about} for status, about in one.others.items()}
    codes = {*_ALWAYS, *one.problems, "invalid"}
    if "<" in one.path or one.tag == "rollout":
        codes.add("not_found")
    if one.body is not None:
        codes |= {"bad_json", "unsupported_media_type", "too_large"}
    if one.query is not None and "cursor" in one.query.model_fields:
        codes.add("bad_cursor")
    if one.versioned and one.method != "GET":
        codes |= {"stale", "bad_request"}
    if one.versioned and one.method == "GET":
        responses["304"] = {"description": "Not changed since the version in `If-None-Match`"}
    if one.method == "POST":
        codes |= {"bad_request", "in_progress", "idempotency_mismatch"}
    for status in sorted({KINDS[code].status for code in codes}):
        names = sorted(code for code in codes if KINDS[code].status == status)
        responses[str(status)] = {
            "description": ", ".join(f"`{name}`" for name in names),
            "content": {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
    return responses


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "description": "What went wrong (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {**text, "description": "The page that explains the code."},
            "title": text,
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": sorted(KINDS)},
            "detail": {**text, "description": "What to do about it."},
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["where", "what"],
                    "properties": {"where": text, "what": text},
                },
            },
        },
    }
