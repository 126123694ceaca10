"""Where browsers find the media processes, and which pages may open a socket to them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moked import sockets
from moked.sockets import BROWSER, address, may_come_from

HERE = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("media", "base", "page", "found"),
    [
        ("ws://127.0.0.1:8080/media/twilio", HERE, HERE, "ws://127.0.0.1:8080/media/browser"),
        ("ws://127.0.0.1:8080/media/twilio", HERE, "http://localhost:8080", "ws://localhost:8080/media/browser"),
        ("wss://a.example/media/2/twilio", "https://a.example", "https://a.example", "wss://a.example/media/2/browser"),
        ("wss://m.example/media/twilio", "https://a.example", "https://a.example", "wss://m.example/media/browser"),
        ("ws://127.0.0.1:8081/media/1/twilio", HERE, "http://localhost:8080", "ws://127.0.0.1:8081/media/1/browser"),
        # A tunnel that PUBLIC_BASE_URL does not know: the page's own address leads back to this process.
        ("ws://127.0.0.1:8080/media/twilio", HERE, "https://t.example", "wss://t.example/media/browser"),
    ],
)
def test_a_page_finds_the_process_by_the_name_it_knows(media, base, page, found):
    assert address(media, BROWSER, base_url=base, page_url=page) == found


@pytest.mark.parametrize(
    ("origin", "host", "ours", "may"),
    [
        ("http://localhost:8080", "localhost:8080", (), True),
        ("http://localhost:8080", "127.0.0.1:8081", (HERE,), True),
        ("http://localhost:8082", "127.0.0.1:8081", (HERE,), False),
        ("https://a.example", "m.example", ("https://a.example", ""), True),
        ("https://a.example", "a.example:443", (), True),
        ("https://evil.example", "a.example", ("https://a.example",), False),
        ("https://a.example.evil.example", "a.example", ("https://a.example",), False),
        ("https://a.example@evil.example", "a.example", (), False),
        ("null", "a.example", (), False),
        ("", "a.example", ("https://a.example",), False),
        ("https://a.example:99999", "a.example", (), False),
        ("file://", "", (), False),
    ],
)
def test_only_our_own_pages_may_come(origin, host, ours, may):
    assert may_come_from(origin, host, ours) is may


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_origin_breaks_the_door(origin, host):
    assert may_come_from(origin, host, ("https://a.example",)) in (True, False)


def test_what_a_policy_names():
    assert [sockets.origin(one) for one in (HERE, "wss://m.example/media/twilio")] == [
        "ws://127.0.0.1:8080",
        "wss://m.example",
    ]
