"""Passwords and codes."""

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm import passwords

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


def test_a_password_is_right_or_wrong_and_what_is_stored_is_argon2():
    stored = passwords.hashed("משפט ארוך שקל לזכור")
    assert stored.startswith("$argon2id$")
    assert "m=65536" in stored
    assert passwords.right(stored, "משפט ארוך שקל לזכור")
    assert not passwords.right(stored, "משפט ארוך שקל לזכור ")
    assert not passwords.right("", "anything")
    assert not passwords.right("no hash", "anything")


@pytest.mark.parametrize(("password", "fine"), [("a" * 9, False), ("a" * 10, True), ("a" * 201, False),
                                               ("Dana@example.com", False)])  # fmt: skip
def test_length_is_what_counts(password, fine):
    assert passwords.acceptable(password, "dana@example.com") is fine


def test_a_code_is_good_for_its_step_and_the_neighbours():
    secret = passwords.new_totp_secret()
    app = pyotp.TOTP(secret)
    step = int(NOW.timestamp()) // 30
    assert passwords.totp_step(secret, app.at(NOW), NOW) == step
    assert passwords.totp_step(secret, f" {app.at(NOW)[:3]} {app.at(NOW)[3:]}", NOW) == step
    assert passwords.totp_step(secret, app.at(NOW - timedelta(seconds=30)), NOW) == step - 1
    assert passwords.totp_step(secret, app.at(NOW - timedelta(seconds=90)), NOW) is None
    assert "Moked" in passwords.totp_uri(secret, "dana@example.com")


@given(st.text(max_size=12))
def test_nonsense_is_no_code(text):
    assert passwords.totp_step("not base32 !", text, NOW) is None


def test_recovery_codes_are_read_as_people_type_them():
    codes = passwords.recovery_codes()
    assert len(set(codes)) == 10
    assert passwords.recovery_digest(f" {codes[0].upper()} ") == passwords.recovery_digest(codes[0])


def test_a_form_token_follows_from_the_secret_and_does_not_tell_it():
    token = passwords.token()
    assert passwords.form_token(token) == passwords.form_token(token)
    assert passwords.form_token(token) != passwords.form_token(passwords.token())
    assert token not in passwords.form_token(token)


def test_the_picture_of_a_secret_is_an_svg_that_the_page_may_show():
    picture = passwords.qr_code(passwords.totp_uri(passwords.new_totp_secret(), "dana@example.com"))
    assert picture.startswith("data:image/svg+xml")
    assert "script" not in picture
