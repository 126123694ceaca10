"""An S3-compatible store, as far as recordings need one: real HTTP, signatures checked, faults on request.

    PUT, GET (Range), HEAD, DELETE /{bucket}/{key}

Requests are signed with AWS Signature Version 4; a wrong or missing one is 403 SignatureDoesNotMatch, an unknown key
404 NoSuchKey, an unknown bucket 404 NoSuchBucket. `objects` is what is stored, by key.

    emulator = S3("recordings", "key-id", "secret")
    async with emulator.running() as endpoint: ...
"""

import hashlib
import hmac
import re
import socket
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from threading import Thread
from urllib.parse import quote, unquote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>(?P<day>\d{8})/(?P<region>[^/]+)/s3/aws4_request), ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)


class S3:
    """`faults`: status codes, each the answer to one request. `counts`: requests by method and status."""

    def __init__(self, bucket: str, key_id: str, secret: str) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: deque[int] = deque()
        self.counts: Counter[str] = Counter()
        self._bucket = bucket
        self._key_id = key_id
        self._secret = secret

    @contextmanager
    def running(self) -> Iterator[str]:
        """In a thread of its own; gives the endpoint."""
        app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "PUT", "HEAD", "DELETE"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join(5)

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        answer = self._do(request, body)
        self.counts[f"{request.method} {answer.status_code}"] += 1
        return answer

    def _do(self, request: Request, body: bytes) -> Response:
        if self.faults:
            return _error(self.faults.popleft(), "SlowDown")
        if not self._signed(request, body):
            return _error(403, "SignatureDoesNotMatch")
        bucket, _, key = unquote(request.scope["raw_path"].decode()).lstrip("/").partition("/")
        if bucket != self._bucket:
            return _error(404, "NoSuchBucket")
        if request.method == "PUT":
            self.objects[key] = body
            return Response(headers={"ETag": _etag(body)})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Response(status_code=204)
        found = self.objects.get(key)
        if found is None:
            return _error(404, "NoSuchKey")
        modified = format_datetime(datetime.now(UTC), usegmt=True)
        headers = {"ETag": _etag(found), "Last-Modified": modified, "Accept-Ranges": "bytes"}
        if request.method == "HEAD":
            return Response(headers={**headers, "Content-Length": str(len(found))})
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Response(found, headers=headers)
        first = int(wanted[1])
        last = min(len(found), int(wanted[2] or len(found)) + 1)
        if first >= last:
            return _error(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{last - 1}/{len(found)}"
        return Response(found[first:last], status_code=206, headers=headers)

    def _signed(self, request: Request, body: bytes) -> bool:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
        said = _CREDENTIAL.fullmatch(request.headers.get("authorization", ""))
        if said is None or said["id"] != self._key_id:
            return False
        payload = request.headers.get("x-amz-content-sha256", "")
        if payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return False
        names = said["headers"].split(";")
        query = "&".join(
            sorted(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in request.query_params.multi_items())
        )
        canonical = "\n".join(
            (
                request.method,
                request.scope["raw_path"].decode().partition("?")[0],
                query,
                *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names),
                "",
                said["headers"],
                payload,
            )
        )
        to_sign = "\n".join(
            (
                "AWS4-HMAC-SHA256",
                request.headers.get("x-amz-date", ""),
                said["scope"],
                hashlib.sha256(canonical.encode()).hexdigest(),
            )
        )
        key = f"AWS4{self._secret}".encode()
        for part in (said["day"], said["region"], "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), said["signature"])


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _error(status: int, code: str) -> Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Response(text, status_code=status, media_type="application/xml")
