"""E-mail to the owner over a real SMTP server: once, to each who is to be told, with failures that say what to do."""

import ssl
import subprocess

import pytest
from aiosmtpd.smtp import AuthResult

from emulators.receivers import SmtpServer
from moked.errors import Failure, ProviderError
from moked.jobs.mail import MailNotice, Server
from tests.crm.test_after import PASSWORD, Office


@pytest.fixture
def smtp():
    with SmtpServer().running() as server:
        yield server


@pytest.fixture
def office(engine):
    office = Office(engine)
    office.access.set_up_owner(office.business, "dana@example.com", "דנה", PASSWORD)
    office.call()
    return office


def notice(office, smtp, **more):
    to = more.pop("to", ())
    server = Server("127.0.0.1", smtp.port, "moked@example.com", **{"security": "none", **more})
    return MailNotice(office.after, server, base_url=lambda: "https://desk.example.com", to=to)


def test_the_owner_is_told_once(office, smtp):
    send = notice(office, smtp)
    send("CA1")
    send("CA1")
    ((to, mail),) = smtp.received
    assert to == "dana@example.com"
    assert mail["From"].addresses[0].display_name == "מזגנים בצפון"
    assert mail["Subject"].startswith("ליד חדש")
    assert mail["Message-ID"].startswith("<email.CA1.")
    assert mail["Auto-Submitted"] == "auto-generated"
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    assert "https://desk.example.com/leads/" in text
    assert 'dir="rtl"' in html


def test_others_may_be_told_instead(office, smtp):
    notice(office, smtp, to=("a@example.com", "b@example.com"))("CA1")
    assert [to for to, _ in smtp.received] == ["a@example.com", "b@example.com"]
    assert len(smtp.mails) == 2


def test_one_that_is_refused_does_not_keep_the_others_from_it(office, smtp):
    smtp.refuse.append("550 no such user")
    send = notice(office, smtp, to=("gone@example.com", "b@example.com"))
    with pytest.raises(ProviderError) as refused:
        send("CA1")
    assert refused.value.kind is Failure.CONFIG
    assert "gone@example.com" not in str(refused.value), "no address in a log"
    assert [to for to, _ in smtp.received] == ["b@example.com"]
    send("CA1")
    assert [to for to, _ in smtp.received] == ["b@example.com", "gone@example.com"]


def test_what_was_sent_and_not_noted_goes_again_as_the_same_message(office, smtp):
    send, note = notice(office, smtp), office.after.notice_sent
    office.after.notice_sent = lambda key: 1 / 0  # the process dies here
    with pytest.raises(ZeroDivisionError):
        send("CA1")
    office.after.notice_sent = note
    send("CA1")
    assert len(smtp.received) == 2
    assert len(smtp.mails) == 1


def test_a_call_nobody_has_to_hear_of_sends_nothing(office, smtp):
    notice(office, smtp)("CA404")
    assert smtp.received == []


@pytest.mark.parametrize(("answer", "kind"), [("450 later", Failure.QUOTA), ("550 never", Failure.CONFIG)])
def test_a_refusal_says_whether_time_heals_it(office, smtp, answer, kind):
    smtp.refuse.append(answer)
    with pytest.raises(ProviderError) as refused:
        notice(office, smtp)("CA1")
    assert refused.value.kind is kind


def test_a_server_that_is_away(office, smtp):
    away = notice(office, smtp)
    away._server = Server("127.0.0.1", 1, "moked@example.com", "none")
    with pytest.raises(ProviderError) as refused:
        away("CA1")
    assert refused.value.kind is Failure.UNAVAILABLE


def test_a_server_without_encryption_is_not_given_a_password(office, smtp):
    with pytest.raises(ProviderError) as refused:
        notice(office, smtp, security="starttls", user="me", password="x")("CA1")
    assert refused.value.kind is Failure.CONFIG
    assert smtp.received == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key", "-out", folder / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_it_logs_in_over_tls_and_looks_at_the_certificate(office, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")

    def login(server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"me", b"open sesame"), handled=False)

    with SmtpServer().running(tls_context=context, authenticator=login, auth_required=True) as smtp:
        with pytest.raises(ProviderError) as refused:
            notice(office, smtp, security="starttls", user="me", password="open sesame")("CA1")
        assert refused.value.kind is Failure.CONFIG, "nobody vouches for the certificate"
        trusting = ssl.create_default_context
        monkeypatch.setattr(ssl, "create_default_context", lambda: trusting(cafile=str(certificate / "cert")))
        with pytest.raises(ProviderError) as refused:
            notice(office, smtp, security="starttls", user="me", password="wrong")("CA1")
        assert refused.value.kind is Failure.AUTH
        with pytest.raises(ProviderError) as refused:
            notice(office, smtp, security="starttls", user="me", password="סוד")("CA1")
        assert refused.value.kind is Failure.CONFIG, "Python's client sends passwords of ASCII letters alone"
        notice(office, smtp, security="starttls", user="me", password="open sesame")("CA1")
        assert len(smtp.received) == 1
