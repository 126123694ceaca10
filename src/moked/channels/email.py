"""E-mail over SMTP, for notices to the business's own people and for who asked for details by mail.

One connection a message: a business sends a few an hour. The key makes the Message-ID, so a mailbox shows once what was
sent twice.
"""

import hashlib
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final

from anyio import to_thread

from moked.channels import ChannelCaps, ChannelHealth, Link, MessageState, Outbound, SendResult
from moked.channels.smtp import Server, connected, send
from moked.errors import Failure, ProviderError

_AGAIN: Final = frozenset({Failure.UNAVAILABLE, Failure.TIMEOUT, Failure.QUOTA})


class Email:
    """A `channels.Carrier`: mail only goes out."""

    kind = "email.smtp"
    caps = ChannelCaps(max_text=100_000)

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last_error = ""

    async def send(self, out: Outbound) -> SendResult:
        return await to_thread.run_sync(self._send, out)

    def health(self) -> ChannelHealth:
        return ChannelHealth(Link.FAILED if self._last_error else Link.OPEN, self._last_error)

    def _send(self, out: Outbound) -> SendResult:
        message = EmailMessage()
        domain = self._server.sender.rpartition("@")[2].strip("> ") or "localhost"
        message_id = f"<{hashlib.sha256(out.key.encode()).hexdigest()[:32]}@{domain}>"
        message["Message-ID"], message["Date"] = message_id, formatdate(localtime=False)
        message["From"], message["To"], message["Subject"] = self._server.sender, out.to.value, out.subject or "Moked"
        message.set_content(out.text)
        try:
            with connected(self._server) as smtp:
                send(smtp, message)
        except ProviderError as error:
            self._last_error = f"smtp_{error.kind.value}"
            return SendResult(
                MessageState.QUEUED if error.kind in _AGAIN else MessageState.FAILED, error=self._last_error
            )
        self._last_error = ""
        return SendResult(MessageState.SENT, message_id)
