"""What can go wrong at the API (pure): RFC 9457 problems, each with a stable code and what to do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Kind:
    status: int
    title: str
    advice: str


KINDS: Final[Mapping[str, Kind]] = {
    "bad_request": Kind(400, "The request cannot be read", "See `detail`."),
    "bad_json": Kind(400, "The body is not JSON", "Send one JSON object in UTF-8."),
    "bad_cursor": Kind(400, "The cursor is not one of ours", "Begin without `cursor`, and take `next` as it is."),
    "unauthenticated": Kind(
        401, "No valid key", "Send `Authorization: Bearer mk_...` with a key that is neither revoked nor expired."
    ),
    "forbidden": Kind(403, "The key may not do this", "Use a key with the scope that `detail` names."),
    "not_found": Kind(404, "There is no such thing", "Check the id; what belongs to another business is not there."),
    "method_not_allowed": Kind(405, "The method is not allowed here", "The header `Allow` says which are."),
    "illegal_move": Kind(
        409,
        "The lead cannot go to this stage",
        "A closed lead is first moved to `in_progress`; none becomes new again.",
    ),
    "in_progress": Kind(
        409, "The first request with this Idempotency-Key is still being worked on", "Try again in a moment."
    ),
    "conflict": Kind(409, "This cannot be done as things stand", "See `detail`."),
    "stale": Kind(412, "It has changed since you read it", "Read it again, and send its new ETag as `If-Match`."),
    "too_large": Kind(413, "The body is too large", "Send at most 64 KB."),
    "unsupported_media_type": Kind(415, "The body has the wrong type", "Send `Content-Type: application/json`."),
    "invalid": Kind(422, "Something in the request is not right", "`errors` names each place."),
    "idempotency_mismatch": Kind(
        422, "This Idempotency-Key came with another request", "Use a new key for a new request."
    ),
    "rate_limited": Kind(429, "Too many requests", "Wait as long as `Retry-After` says."),
    "internal": Kind(500, "We failed", "Try again later; with an Idempotency-Key nothing is done twice."),
    "unavailable": Kind(503, "This is not available at the moment", "Try again later."),
}


class Problem(Exception):
    """The answer to a request that cannot be served. `errors`: places and what is wrong with them."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code, self.kind = code, KINDS[code]
        self.detail = detail or self.kind.advice
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def document(self, where: str) -> dict[str, Any]:
        """The body; `where`: the page that explains the codes."""
        errors = {"errors": self.errors} if self.errors else {}
        return {
            "type": f"{where}#{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "code": self.code,
            "detail": self.detail,
            **errors,
        }


def of_status(status: int) -> str:
    """The code of an error that Flask raised itself."""
    return {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}.get(
        status, "bad_request" if status < 500 else "internal"
    )
