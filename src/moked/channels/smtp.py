"""A mail server: connected, logged in, handed a message. The only file that imports smtplib."""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final, Literal

from moked.errors import Failure, ProviderError

_PROVIDER: Final = "smtp"
_TIMEOUT_S: Final = 15.0
Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP server. `sender` is the address messages come from. No `user`: it wants no login."""

    host: str
    port: int
    sender: str
    security: Security = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)


@contextmanager
def connected(server: Server) -> Iterator[smtplib.SMTP]:
    """Logged in. Raises `ProviderError`."""
    smtp = _connected(server)
    try:
        yield smtp
    finally:
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()


def _connected(server: Server) -> smtplib.SMTP:
    """Connected and logged in. Raises `ProviderError`."""
    try:
        if server.security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=_TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_S)
        try:
            if server.security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
            if server.user:
                smtp.login(server.user, server.password)
        except BaseException:
            smtp.close()
            raise
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise _failed(error) from error
    return smtp


def send(smtp: smtplib.SMTP, mail: EmailMessage) -> None:
    """Raises `ProviderError`: what the server does not take."""
    try:
        smtp.send_message(mail)
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise _failed(error) from error


def _failed(error: Exception) -> ProviderError:
    """Servers' answers hold addresses: they are not passed on."""
    return ProviderError(_PROVIDER, _kind(error), type(error).__name__)


def _kind(error: Exception) -> Failure:
    """By what is to be done about it."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return Failure.AUTH
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            return Failure.QUOTA if all(400 <= code < 500 for code, _ in refused.values()) else Failure.CONFIG
        case smtplib.SMTPResponseException(smtp_code=code):
            return Failure.UNAVAILABLE if 400 <= code < 500 else Failure.CONFIG
        case smtplib.SMTPNotSupportedError() | ssl.SSLCertVerificationError() | UnicodeError():
            return Failure.CONFIG
        case TimeoutError():
            return Failure.TIMEOUT
    return Failure.UNAVAILABLE
