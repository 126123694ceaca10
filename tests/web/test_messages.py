"""Webhooks of the official channels: signed, stored once, and nothing else."""

import json

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from emulators.graph_api import GraphApi
from moked.channels import TWILIO_SMS, TWILIO_WHATSAPP, Kind
from moked.crm.inbox import Inbox
from moked.crm.tables_whatsapp import Message
from moked.telephony import sign
from moked.web import MessageParts

BASE, TOKEN = "https://phone.example.com", "secret"
META = GraphApi("100", "t", secret="app secret")


@pytest.fixture
def site(office):
    office.told = []
    office.options = {
        "messages": MessageParts(
            inbox=Inbox(office.engine),
            kinds=frozenset({TWILIO_SMS, TWILIO_WHATSAPP}),
            cloud_phone_id="100",
            cloud_secret="app secret",
            cloud_verify="verify",
        ),
        "message_came": office.told.append,
    }
    return office


def rows(site):
    with Session(site.engine) as session:
        return session.scalars(select(Message).order_by(Message.id)).all()


def meta(site, body, signature=None):
    headers = {"X-Hub-Signature-256": META.sign(body) if signature is None else signature}
    return site.client().post("/webhook/whatsapp", data=body, headers=headers, content_type="application/json")


def text(id_="wamid.1", body="המזגן מטפטף", **more):
    one = {"id": id_, "from": "972502345678", "timestamp": "1795343400", "type": "text", "text": {"body": body}, **more}
    return META.webhook(messages=[one], contacts=[{"wa_id": "972502345678", "profile": {"name": "רותי"}}])


def twilio(site, signature=None, **fields):
    form = {"MessageSid": "SM1", "From": "+972502345678", "To": "+97233333333", "Body": "המזגן מטפטף", **fields}
    headers = {"X-Twilio-Signature": signature or sign(TOKEN, f"{BASE}/webhook/message", form)}
    return site.client().post("/webhook/message", data=form, headers=headers)


def test_what_meta_tells_twice_is_stored_once(site):
    assert [meta(site, text()).status_code, meta(site, text()).status_code] == [200, 200]
    (row,) = rows(site)
    assert (row.text, row.provider_id, row.inbound) == ("המזגן מטפטף", "wamid.1", True)
    assert len(site.told) == 1


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=" + "0" * 64])
def test_what_is_not_signed_by_meta_is_refused(site, signature):
    assert meta(site, text(), signature).status_code == 403
    assert rows(site) == []


def test_a_voice_note_of_meta_is_to_be_heard(site):
    meta(site, text(type="audio", audio={"id": "m1"}))
    assert [(row.kind, row.raw) for row in rows(site)] == [(Kind.VOICE, "m1")]


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"{}", json.dumps({"entry": [1]}).encode(), json.dumps({"entry": "x"}).encode(),
     META.webhook(messages=[{}]), META.webhook(messages="x"), META.webhook(statuses=[{"id": "w", "status": "odd"}]),
     META.webhook(messages=[{"id": "1", "from": "abc", "type": "text", "timestamp": "1"}])],
)  # fmt: skip
def test_nonsense_that_is_signed_stores_nothing_and_breaks_nothing(site, body):
    assert meta(site, body).status_code in (200, 400)
    assert rows(site) == []


def test_meta_is_answered_when_it_asks_whether_the_address_is_ours(site):
    ask = "/webhook/whatsapp?hub.mode=subscribe&hub.challenge=42&hub.verify_token="
    assert site.client().get(ask + "verify").text == "42"
    assert site.client().get(ask + "wrong").status_code == 403


@pytest.mark.parametrize("who", ["", "whatsapp:"])
def test_what_twilio_tells_twice_is_stored_once(site, who):
    for _ in range(2):
        assert twilio(site, From=who + "+972502345678", ProfileName="רותי").status_code == 200
    (row,) = rows(site)
    assert (row.text, row.channel) == ("המזגן מטפטף", "whatsapp" if who else "sms")


def test_what_is_not_signed_by_twilio_is_refused(site):
    assert twilio(site, signature="x").status_code == 403
    assert rows(site) == []


def test_a_channel_that_is_not_served_stores_nothing(site):
    site.options["messages"] = MessageParts(inbox=Inbox(site.engine))
    assert twilio(site).status_code == 200
    assert meta(site, text()).status_code == 403
    assert rows(site) == []
