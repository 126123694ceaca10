"""The loop that sends: each message once, a broken channel harms its own messages only."""

import anyio
import pytest

from moked.channels import PHONE, Address, ChannelCaps, MessageState, Outbound, SendResult, VoiceNote
from moked.crm.sending import BEHIND, Claimed
from moked.errors import Failure, ProviderError
from moked.jobs.sending import once, send_due

pytestmark = pytest.mark.anyio


class Box:
    """An outbox with these messages."""

    def __init__(self, *messages):
        self.left = list(messages)
        self.results = {}
        self.settled = anyio.Event()
        self.failures = 0
        self.held, self.lost = None, None

    def claim(self, caps, only=None):
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")
        found = [one for one in self.left if only in (None, one.line)]
        self.left = [one for one in self.left if one not in found]
        return found

    def settle(self, message_id, result):
        self.results[message_id] = result
        if len(self.results) == 2:
            anyio.from_thread.run_sync(self.settled.set)

    def hold(self, message_ids):
        self.held = set(message_ids) - {self.lost}
        return self.held

    def recover(self, caps):
        return 0

    def strand(self, caps):
        return 0


class Channel:
    caps = ChannelCaps()

    def __init__(self, kind="sms.test", error=None, results=()):
        self.kind, self.error, self.sent, self.results = kind, error, [], list(results)

    async def send(self, out):
        if self.error:
            raise self.error
        self.sent.append(out.key)
        return self.results.pop(0) if self.results else SendResult(MessageState.SENT, f"id-{out.key}")


def message(number, line="sms", to="+972502345678", voice=False):
    return Claimed(number, line, Outbound(f"k{number}", Address(PHONE, to), "שלום"), 1, voice)


async def test_messages_of_one_channel_go_in_their_order():
    box, channel = Box(message(1), message(2)), Channel()
    assert await once(box, "sms", channel, {"sms": channel.caps}) == 2
    assert channel.sent == ["k1", "k2"]
    assert {number: result.provider_id for number, result in box.results.items()} == {1: "id-k1", 2: "id-k2"}


async def test_a_channel_that_breaks_is_no_harm_to_another():
    box, good, bad = Box(message(1), message(2, "email")), Channel(), Channel("email.test", ValueError("boom"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: send_due(box, {"sms": good, "email": bad}, every_s=0.001))
        with anyio.fail_after(10):
            await box.settled.wait()
        tasks.cancel_scope.cancel()
    assert box.results[1].provider_id == "id-k1"
    assert (box.results[2].state, box.results[2].error) == (MessageState.FAILED, "channel_failed")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ProviderError("sms", Failure.CONFIG, "no such number"), MessageState.FAILED),
        (ProviderError("sms", Failure.TIMEOUT, "late"), MessageState.QUEUED),
    ],
)
async def test_what_a_provider_says_of_itself_decides_whether_to_try_again(error, state):
    box, channel = Box(message(1)), Channel(error=error)
    await once(box, "sms", channel, {"sms": channel.caps})
    assert box.results[1].state is state


async def test_what_follows_a_message_that_was_put_off_does_not_overtake_it():
    away = SendResult(MessageState.QUEUED, error="unreachable")
    box, channel = Box(message(1), message(2), message(3, to="+972541112233")), Channel(results=[away])
    told = []
    assert await once(box, "sms", channel, {"sms": channel.caps}, told.append) == 2
    assert channel.sent == ["k1", "k3"]
    assert (box.results[2].state, box.results[2].error) == (MessageState.QUEUED, BEHIND)
    assert told == [1, 1]


async def test_a_batch_that_takes_long_is_not_taken_for_lost(monkeypatch):
    box, channel = Box(message(1), message(2), message(3)), Channel()
    assert await once(box, "sms", channel, {"sms": channel.caps}) == 3
    assert box.held is None  # it was quick
    monkeypatch.setattr("moked.jobs.sending.HOLD_S", 0.0)
    box, channel = Box(message(1), message(2), message(3)), Channel()
    box.lost = 2
    assert await once(box, "sms", channel, {"sms": channel.caps}) == 2
    assert channel.sent == ["k1", "k3"]
    assert box.held == {3}


async def test_a_line_that_comes_later_is_served_too():
    box, first, later = Box(message(1), message(2, "whatsapp@3")), Channel(), Channel("whatsapp.test")
    lines = {"sms": first}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: send_due(box, lines, every_s=0.001))
        await anyio.wait_all_tasks_blocked()
        lines["whatsapp@3"] = later
        with anyio.fail_after(10):
            await box.settled.wait()
        tasks.cancel_scope.cancel()
    assert (first.sent, later.sent) == (["k1"], ["k2"])


async def test_a_database_that_was_away_is_asked_again():
    box, channel = Box(message(1), message(2)), Channel()
    box.failures = 2
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: send_due(box, {"sms": channel}, every_s=0.001))
        with anyio.fail_after(10):
            await box.settled.wait()
        tasks.cancel_scope.cancel()
    assert channel.sent == ["k1", "k2"]


class Speaking(Channel):
    caps = ChannelCaps(voice_replies=True)

    def __init__(self):
        super().__init__("whatsapp.test")
        self.outs = []

    async def send(self, out):
        self.outs.append(out)
        return SendResult(MessageState.SENT, out.key, voice=out.voice is not None)


NOTE = VoiceNote(b"OggS", 1000)


async def spoken(business_id, text):
    assert (business_id, text) == (1, "שלום")
    return NOTE


async def silent(business_id, text):
    return None


async def broken(business_id, text):
    raise ValueError("boom")


@pytest.mark.parametrize(
    ("voice", "speak", "note"),
    [(True, spoken, NOTE), (True, silent, None), (True, broken, None), (False, spoken, None)],
)
async def test_an_answer_is_spoken_and_goes_as_its_words_where_it_cannot_be(voice, speak, note):
    box, channel = Box(message(1, voice=voice)), Speaking()
    await once(box, "sms", channel, {"sms": channel.caps}, speak=speak)
    assert [(out.text, out.voice) for out in channel.outs] == [("שלום", note)]
    assert (box.results[1].state, box.results[1].voice) == (MessageState.SENT, note is not None)


async def test_a_channel_that_carries_no_voice_of_ours_is_given_words():
    box, channel = Box(message(1, voice=True)), Channel()
    await once(box, "sms", channel, {"sms": channel.caps}, speak=broken)
    assert channel.sent == ["k1"]
