"""Codes of carriers as words: the same whether they come at once or later."""

from datetime import UTC, datetime

import pytest

from emulators.graph_api import GraphApi
from moked.channels import MessageState
from moked.channels.carrier_codes import failure
from moked.channels.official_webhooks import of_meta, of_twilio

META = GraphApi("100", "t")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (131053, "media_refused"),
        (131047, "outside_window"),
        (131026, "no_such_address"),
        (132001, "template_refused"),
        (131000, "refused_131000"),
    ],
)
def test_a_failure_that_meta_reports_later_has_the_same_word(code, word):
    status = {"id": "w", "status": "failed", "errors": [{"code": code}]}
    (report,) = of_meta(META.webhook(statuses=[status]), "100")
    assert (report.state, report.error) == (MessageState.FAILED, word)
    assert failure(code) == word


@pytest.mark.parametrize(
    ("code", "word"), [("63016", "outside_window"), ("30008", "refused_30008"), ("", ""), ("odd", "")]
)
def test_a_failure_that_twilio_reports_later_has_the_same_word(code, word):
    form = {"MessageSid": "SM1", "MessageStatus": "undelivered", "From": "whatsapp:+1", "ErrorCode": code}
    report = of_twilio(form, datetime(2026, 11, 22, tzinfo=UTC))
    assert (report.state, report.error) == (MessageState.FAILED, word)


def test_a_note_that_was_played_was_read():
    (report,) = of_meta(META.webhook(statuses=[{"id": "w", "status": "played"}]), "100")
    assert report.state is MessageState.READ


def test_without_a_code_it_was_refused():
    assert failure(0) == "refused"
