"""What a webhook looks like on the wire, when it is tried again, and whom it is not sent to."""

import json
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from moked.crm import signing


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=4))
def test_whoever_gets_it_can_check_it_with_any_of_its_secrets(data):
    old, new = signing.new_secret(), signing.new_secret()
    body = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")
    at = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "msg_1", "webhook-timestamp": str(at),
        "webhook-signature": signing.signature((new, old), "msg_1", at, body),
    }  # fmt: skip
    for secret in (old, new):
        Webhook(secret).verify(body, headers)
    for wrong in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(at + 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(old).verify(body, {**headers, **wrong})
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(body, headers)


def test_it_is_tried_again_for_about_a_day():
    waits = [signing.retry_after(attempt, 0) for attempt in range(1, 9)]
    assert waits[-1] is None
    assert waits[:-1] == sorted(waits[:-1])
    assert timedelta(hours=24) < sum(waits[:-1], timedelta()) < timedelta(hours=30)
    assert signing.retry_after(1, 1.0) == timedelta(seconds=6)
    assert signing.retry_after(1, 0, timedelta(minutes=1)) == timedelta(minutes=1)
    assert signing.retry_after(1, 0, timedelta(days=9)) == timedelta(days=1)
    assert signing.retry_after(2, 0, timedelta(seconds=1)) == timedelta(minutes=5)


@pytest.mark.parametrize("address", [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1",
    "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:db8::1", "2001:0:4136:e378::1",
    "", "localhost", "2130706433",
])  # fmt: skip
def test_nobody_inside_is_called(address):
    assert not signing.public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "104.16.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_whoever_is_out_there_may_be(address):
    assert signing.public(address)


@given(st.ip_addresses(v=4))
def test_an_address_that_carries_another_is_judged_by_it(address):
    assert isinstance(address, IPv4Address)
    assert signing.public(f"::ffff:{address}") == signing.public(str(address))
    assert signing.public(f"64:ff9b::{address}") == signing.public(str(address))


@pytest.mark.parametrize(("url", "open_", "inside"), [
    ("https://crm.example.com/hook?x=1", True, True), ("http://crm.example.com/", False, True),
    ("https://crm.example.com:8443", True, True), ("https://u:p@crm.example.com", False, False),
    ("ftp://x", False, False),
    ("https://", False, False), ("https://x/#a", False, False), ("https://x:0", False, False),
    ("https://x:99999", False, False), ("javascript:alert(1)", False, False), ("https://מוקד.example", False, False),
    ("https://x/a b", False, False), ("https://x/\n", False, False), ("https://[::1", False, False),
])  # fmt: skip
def test_which_addresses_may_be_written(url, open_, inside):
    assert signing.acceptable(url, private=False) == open_
    assert signing.acceptable(url, private=True) == inside
