"""The loop that sends: each message once, a broken channel harms its own messages only."""

import anyio
import pytest

from moked.channels import Address, ChannelCaps, Outbound, SendResult
from moked.crm.sending import Claimed
from moked.jobs.sending import once, send_due

pytestmark = pytest.mark.anyio


class Box:
    """An outbox with these messages."""

    def __init__(self, *messages):
        self.left = list(messages)
        self.results = {}
        self.settled = anyio.Event()
        self.failures = 0

    def claim(self, caps):
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")
        found, self.left = self.left, []
        return found

    def settle(self, message_id, result):
        self.results[message_id] = result
        if len(self.results) == 2:
            anyio.from_thread.run_sync(self.settled.set)

    def recover(self, caps):
        return 0


class Channel:
    caps = ChannelCaps()

    def __init__(self, kind="sms.test", error=None):
        self.kind, self.error, self.sent = kind, error, []

    async def start(self, sink):
        raise AssertionError("nobody starts it here")

    async def health(self):
        raise AssertionError

    async def send(self, out):
        if self.error:
            raise self.error
        self.sent.append(out.key)
        return SendResult(f"id-{out.key}")


def message(number, family="sms"):
    return Claimed(number, family, Outbound(f"k{number}", Address("pn", "+972502345678"), "שלום"))


async def test_messages_of_one_channel_go_in_their_order():
    box, channel = Box(message(1), message(2)), Channel()
    assert await once(box, {"sms": channel}, {"sms": channel.caps}) == 2
    assert channel.sent == ["k1", "k2"]
    assert {number: result.provider_id for number, result in box.results.items()} == {1: "id-k1", 2: "id-k2"}


async def test_a_channel_that_breaks_is_no_harm_to_another():
    box, good, bad = Box(message(1), message(2, "email")), Channel(), Channel("email.test", ValueError("boom"))
    await once(box, {"sms": good, "email": bad}, {"sms": good.caps, "email": bad.caps})
    assert box.results[1].provider_id == "id-k1"
    assert (box.results[2].error, box.results[2].again) == ("channel_failed", False)


async def test_a_database_that_was_away_is_asked_again():
    box, channel = Box(message(1), message(2)), Channel()
    box.failures = 2
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: send_due(box, {"sms": channel}, every_s=0.001))
        with anyio.fail_after(10):
            await box.settled.wait()
        tasks.cancel_scope.cancel()
    assert channel.sent == ["k1", "k2"]
