"""What stands at the other end of the work after a call: a mail server, a messaging channel, a receiver of webhooks.

The HTTP one takes any POST. As real ones do, it knows a repeated request by its `Idempotency-Key` or `webhook-id` and
does it once; `requests` has every one of them, `taken` each message by its key. `SmtpServer` is a whole SMTP server;
it keeps what it is sent, in order, and `mails` by Message-ID, as a mailbox shows them. `refuse` answers the next ones
with these statuses.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class HttpReceiver:
    """Serves on a port of its own inside `running`."""

    requests: list[tuple[str, str, Any]] = field(default_factory=list)  # path, key, body
    taken: dict[str, Any] = field(default_factory=dict)
    refuse: deque[int] = field(default_factory=deque)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator["HttpReceiver"]:
        receiver, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = self.headers.get("Idempotency-Key") or self.headers.get("webhook-id") or ""
                with lock:
                    status = receiver.refuse.popleft() if receiver.refuse else 200
                    receiver.requests.append((self.path, key, body))
                    if status < 300:
                        receiver.taken.setdefault(f"{self.path} {key}", body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is printed."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _OnAnyPort(Controller):
    """Port 0 is one that is free; aiosmtpd would knock at 0 itself to see whether it serves."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@dataclass
class SmtpServer:
    """Serves on a port of its own inside `running`."""

    received: list[tuple[str, EmailMessage]] = field(default_factory=list)  # recipient, message
    refuse: deque[str] = field(default_factory=deque)  # the next answers to RCPT, such as '550 no such user'
    port: int = 0

    @property
    def mails(self) -> dict[str, EmailMessage]:
        return {str(mail["Message-ID"]): mail for _, mail in self.received}

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse:
            return self.refuse.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.received += [(address, mail) for address in envelope.rcpt_tos]
        return "250 OK"

    @contextmanager
    def running(self, **options: Any) -> Iterator["SmtpServer"]:
        """`options` are aiosmtpd's: `auth_required`, `authenticator`, `tls_context` ..."""
        controller = _OnAnyPort(self, hostname="127.0.0.1", port=0, **options)
        controller.start()
        self.port = controller.port
        try:
            yield self
        finally:
            controller.stop()
