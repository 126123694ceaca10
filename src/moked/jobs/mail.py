"""E-mail to the people of the business, by SMTP: the simplest channel there is.

A message is sent once a recipient: what is about to be sent is put on record first, what the server has taken is put on
record after. A process that dies between the two sends it again with the same Message-ID, by which servers and mail
programs know it for the same message; the other order would lose it.
"""

import hashlib
import logging
from collections.abc import Callable
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from moked import metrics
from moked.channels.smtp import Server, connected, send
from moked.crm.after import AfterCalls, Letter
from moked.errors import ProviderError
from moked.jobs.letter import message

log = logging.getLogger(__name__)

CHANNEL: Final = "email"


class MailNotice:
    """`after_call.Parts.notice`: the owners' e-mail about a call's lead. `to`: instead of the owners' own addresses."""

    def __init__(
        self, records: AfterCalls, server: Server, *, base_url: Callable[[], str], to: tuple[str, ...] = ()
    ) -> None:
        self._records = records
        self._server = server
        self._base_url = base_url
        self._to = to

    def __call__(self, call_sid: str) -> None:
        """Raises `ProviderError` where the server does not take it; what was sent before stays sent."""
        letter = self._records.letter(call_sid)
        if letter is None:
            return
        waiting = []
        for recipient in self._to or letter.to:
            key = _key(call_sid, recipient)
            if self._records.open_notice(call_sid, key, CHANNEL, recipient):
                waiting.append((key, recipient))
        if not waiting:
            return
        refused: ProviderError | None = None
        with connected(self._server) as smtp:
            for key, recipient in waiting:
                try:
                    send(smtp, self._mail(letter, key, recipient))
                except ProviderError as error:  # the others are told all the same
                    refused = error
                    continue
                after = self._records.notice_sent(key)
                if after is not None:
                    metrics.notice_delay.observe(max(0.0, after.total_seconds()))
        if refused is not None:
            raise refused

    def _mail(self, letter: Letter, key: str, recipient: str) -> EmailMessage:
        told = message(letter, base_url=self._base_url())
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = told.subject
        mail["From"] = Address(letter.business, addr_spec=self._server.sender)
        mail["To"] = recipient
        mail["Date"] = format_datetime(letter.ended_at)
        mail["Message-ID"] = f"<{key.replace(':', '.')}@{self._server.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"  # no out-of-office answers
        mail.set_content(told.text)
        mail.add_alternative(told.html, subtype="html")
        return mail


def _key(call_sid: str, recipient: str) -> str:
    return f"{CHANNEL}:{call_sid}:{hashlib.sha256(recipient.lower().encode()).hexdigest()[:16]}"
