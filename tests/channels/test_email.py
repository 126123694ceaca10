"""E-mail against a small SMTP server on a real socket."""

import email
import email.policy
import socketserver
import threading

import pytest

from moked.channels import Address, Link, MessageState, Outbound
from moked.channels.email import Email
from moked.channels.smtp import Server

pytestmark = pytest.mark.anyio


class Smtp(socketserver.StreamRequestHandler):
    """Takes one message, or answers MAIL with `server.refuse`."""

    def handle(self):
        self.say("220 ready")
        while line := self.rfile.readline().decode().strip():
            word = line.partition(" ")[0].upper()
            if word == "DATA":
                self.say("354 go on")
                lines = []
                while (text := self.rfile.readline()) != b".\r\n":
                    lines.append(text.removeprefix(b"."))
                self.server.mails.append(b"".join(lines))
                self.say("250 taken")
            elif word == "MAIL" and self.server.refuse:
                self.say(self.server.refuse)
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


@pytest.fixture
def smtp():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp) as server:
        server.mails, server.refuse, server.daemon_threads = [], "", True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


def channel(smtp):
    return Email(Server("127.0.0.1", smtp.server_address[1], "desk@example.com", "none"))


MAIL = Outbound("1:lead", Address("email", "dana@example.com"), "רותי לוי: המזגן מטפטף", subject="ליד חדש")


async def test_hebrew_arrives_as_it_was_written(smtp):
    result = await channel(smtp).send(MAIL)
    got = email.message_from_bytes(smtp.mails[0], policy=email.policy.default)
    assert got.get_content().strip() == MAIL.text
    assert (got["Subject"], got["To"], got["Message-ID"]) == ("ליד חדש", "dana@example.com", result.provider_id)
    assert (await channel(smtp).send(MAIL)).provider_id == result.provider_id  # one mail to a mailbox


@pytest.mark.parametrize(
    ("refuse", "error", "again"), [("451 later", "smtp_unavailable", True), ("550 no", "smtp_config", False)]
)
async def test_a_refusal_says_whether_to_try_again(smtp, refuse, error, again):
    smtp.refuse = refuse
    one = channel(smtp)
    result = await one.send(MAIL)
    assert (result.error, result.state is MessageState.QUEUED) == (error, again)
    assert one.health().state is Link.FAILED


async def test_a_server_that_is_away_is_tried_again():
    result = await Email(Server("127.0.0.1", 9, "desk@example.com", "none")).send(MAIL)
    assert (result.error, result.state) == ("smtp_unavailable", MessageState.QUEUED)
