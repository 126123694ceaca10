"""The emulator as Twilio's own client library sees it."""

import anyio
import pytest
from anyio import to_thread
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from emulators.twilio_rest import Fault, TwilioRest

pytestmark = pytest.mark.anyio

ACCOUNT = "AC" + "1" * 32


class Redirected(TwilioHttpClient):
    """The SDK has no base URL of its own to set."""

    def __init__(self, base_url):
        super().__init__()
        self._base_url = base_url

    def request(self, method, url, *args, **kwargs):
        return super().request(method, url.replace("https://api.twilio.com", self._base_url), *args, **kwargs)


@pytest.fixture
async def served():
    told = []

    async def on_update(sid, fields):
        await anyio.lowlevel.checkpoint()
        told.append((sid, fields))

    emulator = TwilioRest(
        ACCOUNT, "secret", on_update=on_update, on_create=lambda sid, fields: told.append((sid, fields))
    )
    async with emulator.running() as base_url:
        http = Redirected(base_url)
        yield emulator, Client(ACCOUNT, "secret", http_client=http), told
        http.session.close()


async def _do(work):
    return await to_thread.run_sync(work)


async def _code(work):
    with pytest.raises(TwilioRestException) as refused:
        await _do(work)
    return refused.value.status, refused.value.code


async def test_the_sdk_updates_ends_and_looks_at_a_call(served):
    emulator, client, told = served
    emulator.call_started("CA1")
    assert (await _do(lambda: client.calls("CA1").update(twiml="<Response/>"))).status == "in-progress"
    assert (await _do(lambda: client.calls("CA1").update(status="completed"))).status == "completed"
    assert (await _do(lambda: client.calls("CA1").fetch())).status == "completed"
    assert told == [("CA1", {"Twiml": "<Response/>"}), ("CA1", {"Status": "completed"})]
    assert await _code(lambda: client.calls("CA1").update(status="completed")) == (404, 20404)
    assert await _code(lambda: client.calls("CA2").fetch()) == (404, 20404)


async def test_the_sdk_places_a_call(served):
    emulator, client, told = served
    call = await _do(lambda: client.calls.create(to="+972501", from_="+9723", url="https://h/v", twiml="<Response/>"))
    assert call.status == "queued"
    assert told == [(call.sid, {"To": "+972501", "From": "+9723", "Url": "https://h/v"})]
    assert emulator.calls[call.sid] == "queued"
    assert await _code(lambda: client.calls.create(to="+972501", from_="+9723")) == (400, 21205)
    assert await _code(lambda: client.calls.create(to="", from_="", url="https://h/v")) == (400, 21201)


async def test_what_twilio_refuses_is_refused(served):
    emulator, client, _ = served
    emulator.call_started("CA1")
    assert await _code(lambda: client.calls("CA1").update(url="https://h", twiml="<Response/>")) == (400, 20001)
    assert await _code(lambda: client.calls("CA1").update(twiml="x" * 4001)) == (400, 20001)
    assert await _code(lambda: client.calls("CA1").update(status="busy")) == (400, 20001)
    emulator.faults.append(Fault(503, 20503))
    assert await _code(lambda: client.calls("CA1").update(status="completed")) == (503, 20503)
    client.auth = (ACCOUNT, "wrong")
    assert await _code(lambda: client.calls("CA1").update(status="completed")) == (401, 20003)
    assert emulator.updates == []


async def test_calls_nobody_announced_may_be_accepted():
    emulator = TwilioRest(ACCOUNT, "secret", accept_unknown=True)
    async with emulator.running() as base_url:
        http = Redirected(base_url)
        client = Client(ACCOUNT, "secret", http_client=http)
        assert (await _do(lambda: client.calls("CA1").update(status="completed"))).status == "completed"
        assert await _code(lambda: client.calls("CA1").update(status="completed")) == (404, 20404)
        http.session.close()
