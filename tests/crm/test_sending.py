"""The one door out."""

import ast
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

import moked
from moked.channels import SMS, Address, Purpose, SendState
from moked.crm import sending
from moked.crm.models import Contact
from moked.crm.service import Crm

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
SRC = Path(moked.__file__).parent


def test_the_same_key_is_the_same_message(engine):
    business = Crm(engine).ensure_business("מזגנים")
    with Session(engine) as session, session.begin():
        contact = Contact(business_id=business, phone="+972502345678", created_at=NOW, updated_at=NOW)
        session.add(contact)
        session.flush()

        def ask(text):
            return sending.queue(
                session, business_id=business, contact_id=contact.id, channel=SMS, to=Address("pn", contact.phone),
                text=text, purpose=Purpose.SERVICE, key="k", now=NOW,
            )  # fmt: skip

        first, second = ask("שלום"), ask("שלום שוב")
    assert first == second
    assert first.state is SendState.QUEUED


def test_nobody_else_makes_a_message_to_be_sent():
    """Rows are made in `crm/sending.py`; channels are told to send by the messenger alone."""
    makers, senders = set(), set()
    for path in SRC.rglob("*.py"):
        name = path.relative_to(SRC).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "OutboundMessage" or (
                called.endswith("insert") and any(ast.unparse(given) == "OutboundMessage" for given in node.args)
            ):
                makers.add(name)
            if called == "channel.send":
                senders.add(name)
    assert makers == {"crm/sending.py"}
    assert senders == {"jobs/messenger.py"}
