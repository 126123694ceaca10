"""Webhooks out: from a change, through the outbox, to a server on the other side."""

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from moked.crm.delivering import Claimed, Result
from moked.crm.events import EVENTS
from moked.crm.hooks import Unusable
from moked.crm.leads import Stage
from moked.crm.service import Crm
from moked.crm.signing import new_secret
from moked.crm.tables_api import DeliveryState, WebhookDelivery
from moked.jobs import posting
from moked.jobs.webhooks import deliver_due
from moked.records import CallEnd, CallStart, LeadDraft, Outcome
from tests.web.desk_office import DeskOffice, draft, furnish


class Receiver:
    """Another program's server. `answers`: what it says next, the last one for ever."""

    def __init__(self):
        self.got, self.answers = [], [(200, {}, b"ok")]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, {n.lower(): v for n, v in self.headers.items()}, body))
                status, headers, said = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *given):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def events(self):
        return [json.loads(body) for _, _, body in self.got]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def shop(engine, tmp_path, receiver):
    desk = DeskOffice(engine, tmp_path)
    desk.me = desk.owner()
    desk.hook = desk.hooks.add(desk.me, receiver.url, "CRM", EVENTS)
    desk.send = lambda: deliver_due(desk.sending, lambda: desk.now)
    return desk


def states(shop):
    return [one.state.value for one in shop.hooks.deliveries(shop.business, shop.hook.id)]


def test_a_call_tells_of_its_end_its_lead_and_its_task(shop, receiver):
    left = shop.call("CA1", "+972502345678", draft())
    assert shop.send() == 4
    got = {event["type"]: event["data"] for event in receiver.events()}
    assert set(got) == {"call.ended", "lead.created", "task.created", "contact.updated"}
    assert (got["call.ended"]["sid"], got["call.ended"]["lead_id"]) == ("CA1", left.lead_id)
    assert (got["lead.created"]["name"], got["lead.created"]["stage"]) == ("רותי לוי", "new")
    assert got["task.created"]["lead_id"] == left.lead_id
    assert got["call.ended"]["ended_at"].endswith("Z")
    assert states(shop) == ["delivered"] * 4
    assert shop.send() == 0


def test_what_arrives_is_signed_and_says_which_it_is(shop, receiver):
    shop.hooks.ping(shop.me, shop.hook.id)
    shop.now = shop.now.now(shop.now.tzinfo)  # whoever checks, looks at the clock
    old = shop.hooks.secret(shop.business, shop.hook.id)
    shop.hooks.rotate(shop.me, shop.hook.id)
    new = shop.hooks.secret(shop.business, shop.hook.id)
    shop.send()
    ((path, headers, body),) = receiver.got
    assert (path, headers["host"]) == ("/hook", f"127.0.0.1:{receiver.port}")
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)["type"] == "ping"
    shop.now += timedelta(days=1)
    shop.hooks.ping(shop.me, shop.hook.id)
    shop.send()
    assert receiver.got[1][1]["webhook-signature"].count("v1,") == 1
    stored = shop.hooks.endpoint(shop.business, shop.hook.id)
    assert new.encode() not in stored.secret


def test_what_a_person_changes_is_told_once_a_change(shop, receiver):
    lead = shop.call("CA1", "+972502345678", draft()).lead_id
    shop.send()
    receiver.got.clear()
    shop.edits.set_fields(shop.me, lead, {"name": "רות", "need": "מזגן"})
    shop.edits.move(shop.me, lead, Stage.WON)
    shop.edits.move(shop.me, lead, Stage.WON)  # nothing changes
    task = shop.edits.add_task(shop.me, lead, "", "2026-11-29T10:00")
    shop.edits.set_task_done(shop.me, task, True)
    while shop.send():
        pass
    assert sorted(event["type"] for event in receiver.events()) == [
        "contact.updated", "lead.updated", "lead.updated", "task.created", "task.updated",
    ]  # fmt: skip
    assert [e["data"]["name"] for e in receiver.events() if e["type"] == "lead.updated"] == ["רות", "רות"]


def test_an_event_is_stored_with_its_change_or_not_at_all(shop):
    lead = shop.call("CA1", "+972502345678", draft()).lead_id
    before = len(shop.hooks.deliveries(shop.business, shop.hook.id))
    with pytest.raises(ZeroDivisionError), shop.edits._lead(shop.me, lead) as (session, row):
        row.name = "x"
        session.flush()
        1 / 0  # noqa: B018
    assert len(shop.hooks.deliveries(shop.business, shop.hook.id)) == before
    shop.edits.move(shop.me, lead, Stage.WON)
    assert len(shop.hooks.deliveries(shop.business, shop.hook.id)) == before + 1


def test_only_what_is_wanted_is_sent_and_only_ones_own(shop, receiver):
    shop.hooks.change(shop.me, shop.hook.id, events=["call.ended"])
    other = shop.crm.ensure_business("שכנים", key="neighbours")
    shop.call("NB1", "+972520000001", draft(), business=other)
    assert shop.send() == 0
    shop.call("CA1", "+972502345678", draft())
    shop.hooks.change(shop.me, shop.hook.id, active=False)
    shop.call("CA2", "+972502345679", draft())
    assert shop.send() == 0  # it is off: what is there waits
    shop.hooks.change(shop.me, shop.hook.id, active=True)
    shop.send()
    assert [event["data"]["sid"] for event in receiver.events()] == ["CA1"]


def test_without_an_endpoint_nothing_is_written(engine):
    crm = Crm(engine)
    business = crm.ensure_business("בלי")
    crm.open_call(CallStart("CA1", "AC1", "+972502345678", "+97235551234"), business)
    crm.finish_call(CallEnd("CA1", Outcome.BROKEN, "x", 1, LeadDraft()))
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 0


# ---- what does not arrive


def test_it_is_sent_again_until_it_arrives(shop, receiver):
    receiver.answers = [(500, {}, b"oops" * 200), (503, {"Retry-After": "3600"}, b""), (204, {}, b"")]
    shop.hooks.ping(shop.me, shop.hook.id)
    assert shop.send() == 1
    assert shop.send() == 0
    shop.now += timedelta(seconds=7)
    assert shop.send() == 1
    shop.now += timedelta(minutes=50)  # it asked for an hour
    assert shop.send() == 0
    shop.now += timedelta(minutes=11)
    assert shop.send() == 1
    (one,) = shop.hooks.deliveries(shop.business, shop.hook.id)
    assert (one.state, one.attempts) == (DeliveryState.DELIVERED, 3)
    assert [entry["status"] for entry in one.log] == [500, 503, 204]
    assert one.log[0]["response"] == "oops" * 75
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    assert shop.hooks.endpoint(shop.business, shop.hook.id).failing_since is None


def test_after_a_day_it_is_given_up_and_a_person_sends_it_again(shop, receiver):
    receiver.answers = [(302, {"Location": receiver.url}, b"")]  # redirects are not followed
    shop.hooks.ping(shop.me, shop.hook.id)
    for minutes in (1, 7, 37, 150, 370, 730, 730, 0):
        assert states(shop) == ["pending"]
        assert shop.send() == 1
        shop.now += timedelta(minutes=minutes)
    assert states(shop) == ["failed"]
    receiver.answers = [(200, {}, b"")]
    (one,) = shop.hooks.deliveries(shop.business, shop.hook.id)
    shop.hooks.replay(shop.me, one.id)
    assert shop.send() == 1
    assert states(shop) == ["delivered"]


def test_what_nobody_takes_for_three_days_is_switched_off_and_told(shop, receiver):
    receiver.answers = [(500, {}, b"")]
    for _ in range(5):
        shop.hooks.ping(shop.me, shop.hook.id)
        shop.send()
        shop.now += timedelta(hours=20)
    with pytest.raises(Unusable, match="off"):
        shop.hooks.ping(shop.me, shop.hook.id)
    found = shop.hooks.endpoint(shop.business, shop.hook.id)
    assert (found.active, found.disabled_why) == (False, "failing")
    assert shop.hooks.stopped(shop.business)
    assert set(states(shop)) == {"failed"}
    assert shop.access.audit_log(shop.business)[0][0].action == "webhook.switched_off"
    receiver.answers = [(200, {}, b"")]
    shop.hooks.change(shop.me, found.id, active=True)
    assert not shop.hooks.stopped(shop.business)
    assert shop.hooks.replay_failed(shop.me, found.id) == 5
    while shop.send():
        pass
    assert set(states(shop)) == {"delivered"}


def test_whoever_says_gone_is_left_alone(shop, receiver):
    receiver.answers = [(410, {}, b"")]
    shop.hooks.ping(shop.me, shop.hook.id)
    shop.send()
    assert shop.hooks.endpoint(shop.business, shop.hook.id).disabled_why == "gone"


def test_a_worker_that_died_is_followed_by_another(shop, receiver):
    shop.hooks.ping(shop.me, shop.hook.id)
    (first,) = shop.sending.claim(shop.now)
    assert shop.sending.claim(shop.now) == []
    shop.now += timedelta(minutes=3)
    assert shop.send() == 1
    assert shop.sending.settle(first, Result(500), shop.now, 0) is None  # it lives after all, and has nothing to say
    assert states(shop) == ["delivered"]


def test_a_slow_endpoint_does_not_keep_others_waiting(shop, receiver):
    second = shop.hooks.add(shop.me, f"{receiver.url}2", "שני", EVENTS)
    for _ in range(30):
        shop.hooks.ping(shop.me, shop.hook.id)
    shop.hooks.ping(shop.me, second.id)
    claimed = shop.sending.claim(shop.now)
    assert len(claimed) == 5
    assert sum(one.url.endswith("2") for one in claimed) == 1


def test_removing_an_endpoint_forgets_its_deliveries(shop):
    shop.hooks.ping(shop.me, shop.hook.id)
    (claimed,) = shop.sending.claim(shop.now)
    shop.hooks.remove(shop.me, shop.hook.id)
    assert shop.sending.settle(claimed, Result(200), shop.now, 0) is None
    with Session(shop.engine) as session:
        assert session.scalar(text("SELECT count(*) FROM webhook_delivery")) == 0
    with pytest.raises(LookupError):
        shop.hooks.endpoint(shop.business, shop.hook.id)


def test_old_deliveries_are_forgotten(shop):
    shop.hooks.ping(shop.me, shop.hook.id)
    shop.sending.prune(shop.now + timedelta(days=29))
    assert len(states(shop)) == 1
    shop.sending.prune(shop.now + timedelta(days=31))
    assert states(shop) == []


@pytest.mark.parametrize(("url", "name", "events", "why"), [
    ("https://u:p@x.example", "x", EVENTS, "url"), ("", "x", EVENTS, "url"), ("https://x.example", " ", EVENTS, "name"),
    ("https://x.example", "x", [], "events"), ("https://x.example", "x", ["lead.eaten"], "events"),
])  # fmt: skip
def test_an_endpoint_that_makes_no_sense_is_refused(shop, url, name, events, why):
    with pytest.raises(Unusable, match=why):
        shop.hooks.add(shop.me, url, name, events)


# ---- nobody is led inside


def _posted(url, *, private):
    claimed = Claimed(1, url, "msg_1", "ping", {}, (new_secret(),), 1)
    return anyio.run(lambda: posting.post(claimed, 0.0, private=private))


def test_an_address_inside_is_not_connected_to(receiver):
    for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
        found = _posted(f"http://{host}:{receiver.port}/", private=False)
        assert (found.status, found.error) in ((0, "private_address"), (0, "name")), host
    assert receiver.got == []


def test_the_name_is_asked_for_once_and_the_answer_is_connected_to(receiver, monkeypatch):
    asked = []

    async def resolve(host, port, **options):
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(posting.anyio, "getaddrinfo", resolve)
    assert _posted(f"http://crm.example.com:{receiver.port}/hook", private=True).status == 200
    assert asked == ["crm.example.com"]
    assert receiver.got[0][1]["host"] == f"crm.example.com:{receiver.port}"

    async def both(host, port, **options):  # one inside is enough to refuse
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 1, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(posting.anyio, "getaddrinfo", both)
    assert _posted("https://crm.example.com/", private=False).error == "private_address"


def test_what_cannot_be_reached_has_a_reason(receiver, monkeypatch):
    assert _posted("http://127.0.0.1:1/", private=True).error == "network"
    assert _posted(f"https://127.0.0.1:{receiver.port}/", private=True).error in ("tls", "network")
    assert _posted("http://no-such-name.invalid/", private=True).error == "name"


def test_furnished_data_has_events_that_can_be_stored(shop):
    furnish(shop)
    assert all(one.payload["data"] for one in shop.hooks.deliveries(shop.business, shop.hook.id, limit=100))
