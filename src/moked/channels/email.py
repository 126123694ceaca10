"""E-mail over SMTP, for notices to the business's own people and for who asked for details by mail.

Standard library, one connection a message: a business sends a few an hour. The key makes the Message-ID, so a mailbox
shows a message that was sent twice once.
"""

import hashlib
import logging
import smtplib
import ssl
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final
from urllib.parse import unquote, urlsplit

from anyio import to_thread

from moked.channels import ChannelCaps, ChannelHealth, Inbound, Outbound, SendResult

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 10.0
_TEMPORARY: Final = range(400, 500)


class Email:
    """`url`: 'smtps://user:password@host:465', or 'smtp://user:password@host:587', which is encrypted by STARTTLS;
    'smtp+plain://host:port' is not, for a relay on the same machine."""

    kind = "email.smtp"
    caps = ChannelCaps(max_text=100_000)

    def __init__(self, url: str, sender: str) -> None:
        self._url = urlsplit(url)
        self._sender = sender
        self._last_error = ""

    async def start(self, sink: Callable[[Inbound], Awaitable[None]]) -> None:
        """Mail only goes out."""

    async def send(self, out: Outbound) -> SendResult:
        return await to_thread.run_sync(self._send, out)

    async def health(self) -> ChannelHealth:
        return ChannelHealth(not self._last_error, self._last_error)

    def _send(self, out: Outbound) -> SendResult:
        message = EmailMessage()
        domain = self._sender.rpartition("@")[2].strip("> ") or "localhost"
        message_id = f"<{hashlib.sha256(out.key.encode()).hexdigest()[:32]}@{domain}>"
        message["Message-ID"], message["Date"] = message_id, formatdate(localtime=False)
        message["From"], message["To"], message["Subject"] = self._sender, out.to.value, out.subject or "Moked"
        message.set_content(out.text)
        try:
            with self._connected() as server:
                server.send_message(message)
        except smtplib.SMTPResponseException as error:
            self._last_error = f"SMTP {error.smtp_code}"
            return SendResult(error=f"smtp_{error.smtp_code}", again=error.smtp_code in _TEMPORARY)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return SendResult(error="refused_address", again=all(code in _TEMPORARY for code in codes))
        except (OSError, smtplib.SMTPException) as error:
            self._last_error = type(error).__name__
            return SendResult(error="no_connection", again=True)
        self._last_error = ""
        return SendResult(message_id)

    def _connected(self) -> smtplib.SMTP:
        host, port = self._url.hostname or "localhost", self._url.port
        if self._url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port or 465, timeout=_TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, port or 587, timeout=_TIMEOUT_S)
            if self._url.scheme == "smtp":
                server.starttls(context=ssl.create_default_context())
        if self._url.username:
            server.login(unquote(self._url.username), unquote(self._url.password or ""))
        return server
