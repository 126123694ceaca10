"""The front page."""

import base64
import hashlib
import re

from markupsafe import escape


def test_it_tells_what_to_do_next_in_hebrew_from_right_to_left(office):
    answer = office.client().get("/")
    assert answer.status_code == 200
    assert '<html lang="he" dir="rtl">' in answer.text
    ours = "https://phone.example.com/webhook"
    for words in ("מזגנים בצפון", "moked call", f"{ours}/incoming_call", f"{ours}/call_status", "moked doctor"):
        assert words in answer.text
    assert "PUBLIC_BASE_URL" not in answer.text


def test_its_policy_allows_its_own_style_and_nothing_else(office):
    answer = office.client().get("/")
    policy = answer.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*)</style>", answer.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_business_name_is_text(office):
    name = "<script>alert(1)</script>"
    office.options["business_name"] = name
    page = office.client().get("/").text
    assert str(escape(name)) in page
    assert name not in page


def test_an_address_that_twilio_cannot_reach_is_not_offered(office):
    office.options["public_base_url"] = lambda: "http://127.0.0.1:8080"
    page = office.client().get("/").text
    assert "PUBLIC_BASE_URL" in page
    assert "/webhook/" not in page
