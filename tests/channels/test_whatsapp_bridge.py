"""The bridge program with unmodified Baileys, against a WhatsApp server on the real Noise and Signal wire."""

import sqlite3
from dataclasses import replace

import anyio
import numpy as np
import pytest
from anyio import to_thread

from moked import audio
from moked.channels import Address, Kind, Link, MessageState, Outbound, VoiceNote
from moked.recordings import to_ogg_opus
from tests.channels.linked import Linked, until

RUTI = "972502345678"
KEY = "3EB0AAAA000000000000"


@pytest.fixture
def linked(whatsapp, bridge, tmp_path):
    return Linked(whatsapp, bridge, tmp_path / "moked.db")


def out(text, number=1):
    return Outbound(f"{KEY}{number:02}", Address("tel", f"+{RUTI}"), text)


async def test_it_pairs_hears_and_answers(linked, whatsapp, tmp_path):
    async with linked.running():
        assert linked.channel.health().account == "972501111111"
        whatsapp.say(RUTI, "שלום, המזגן מטפטף 💧", name="רותי לוי")
        await until(lambda: linked.got)
        (heard,) = linked.got
        assert (heard.text, heard.name, heard.address) == (
            "שלום, המזגן מטפטף 💧",
            "רותי לוי",
            Address("tel", f"+{RUTI}"),
        )
        sent = await linked.channel.send(out("שלום רותי, מתי נוח שנגיע?"))
        assert sent.state is MessageState.SENT
        await until(lambda: MessageState.READ in {each.state for each in linked.reports})
        assert whatsapp.got(RUTI) == ["שלום רותי, מתי נוח שנגיע?"]
        await linked.channel.read(heard.address, (heard.provider_id,))
        await linked.channel.typing(heard.address, True)
        await until(lambda: whatsapp.state()["seen"]["read"] == [heard.provider_id])
        await until(lambda: whatsapp.state()["seen"]["presence"])
        assert whatsapp.state()["waiting"] == 0
        kept = sqlite3.connect(tmp_path / "moked.db").execute("SELECT value FROM whatsapp_auth").fetchall()
        assert len(kept) > 800
        assert not any(b"private" in value or b"Key" in value for (value,) in kept)


async def test_somebody_whose_number_is_not_told_is_answered(linked, whatsapp):
    async with linked.running():
        whatsapp.say(RUTI, "שלום", lid="77001", **{"as": "lid_only"})
        whatsapp.say(RUTI, "זה אני", lid="77001", **{"as": "lid"})
        await until(lambda: len(linked.got) == 2)
        first, second = linked.got
        assert (first.address, first.also) == (Address("lid", "77001"), ())
        assert (second.address, second.also) == (Address("lid", "77001"), (Address("tel", f"+{RUTI}"),))
        assert (await linked.channel.send(Outbound(f"{KEY}01", first.address, "שלום גם לך"))).state is MessageState.SENT
        assert whatsapp.got(RUTI) == ["שלום גם לך"]


async def test_a_voice_note_is_fetched_and_only_from_whatsapp(linked, whatsapp):
    async with linked.running():
        whatsapp.say(RUTI, voice="T2dnUw==")
        await until(lambda: linked.got)
        assert linked.got[0].kind is Kind.VOICE
        assert await linked.channel.fetch(linked.got[0].raw) == b"OggS"
        linked.channel._bridge = linked.bridge.__class__(command=linked.bridge.command, url=whatsapp.url)
        linked.order()  # anew, and without an exception for the test's own media host
        await until(lambda: linked.state is not Link.OPEN)
        await linked.is_(Link.OPEN)
        with pytest.raises(Exception, match="bad_media"):
            await linked.channel.fetch(linked.got[0].raw)


async def test_connections_that_end_come_back(linked, whatsapp):
    async with linked.running():
        for number, fault in enumerate([{"now": "drop"}, {"now": "503"}, {"now": "515"}, {"now": "500"}], 1):
            logins = whatsapp.state()["logins"]
            whatsapp.fault(**fault)
            await until(lambda logins=logins: whatsapp.state()["logins"] > logins and whatsapp.state()["live"])
            await linked.is_(Link.OPEN)
            whatsapp.say(RUTI, f"הודעה {number}")
            await until(lambda number=number: len(linked.got) == number)
        logins = whatsapp.state()["logins"]
        whatsapp.fault(login=["stream:503", "405", "503"], now="drop")
        await until(lambda: whatsapp.state()["logins"] >= logins + 4)
        await linked.is_(Link.OPEN)
        assert linked.texts == [f"הודעה {number}" for number in range(1, 5)]
        assert len(linked.bridges()) == 1


async def test_another_process_with_the_account_stops_this_one_until_it_is_asked(linked, whatsapp):
    async with linked.running():
        logins = whatsapp.state()["logins"]
        whatsapp.fault(now="440")
        await linked.is_(Link.REPLACED)
        linked.order()
        await linked.is_(Link.OPEN)
        assert whatsapp.state()["logins"] == logins + 1


async def test_an_unlinked_device_must_be_paired_again(linked, whatsapp):
    async with linked.running():
        whatsapp.fault(now="401")
        await linked.is_(Link.UNPAIRED)
        assert linked.channel.health().error == "logged_out"
        assert (await linked.channel.send(out("שלום"))).state is MessageState.QUEUED
        linked.order(forget=True)
        await until(lambda: not linked.store.auth_get("creds", ["creds"]))
        linked.order()
        await linked.is_(Link.PAIRING)
        whatsapp.scan(linked.channel.health().qr)
        await linked.is_(Link.OPEN)


async def test_it_pairs_by_a_code_that_is_typed_on_the_phone(linked, whatsapp):
    async with linked.running(pair=False):
        linked.order(pair_phone="+972501111111")
        await until(lambda: linked.channel.health().code)
        code = linked.channel.health().code
        assert len(code) == 8
        await until(lambda: whatsapp.state()["asked"] == "972501111111@s.whatsapp.net")
        wrong = code[:-1] + ("A" if code[-1] != "A" else "B")
        assert not await to_thread.run_sync(whatsapp.type, wrong)
        assert linked.state is Link.PAIRING
        assert await to_thread.run_sync(whatsapp.type, code)
        await linked.is_(Link.OPEN)
        assert linked.channel.health().account == "972501111111"
        whatsapp.say(RUTI, "שלום")
        await until(lambda: linked.got)
        assert (await linked.channel.send(out("שלום גם לך"))).state is MessageState.SENT
        assert whatsapp.got(RUTI) == ["שלום גם לך"]


async def test_an_answer_is_heard_and_where_its_sound_cannot_be_left_it_is_read(linked, whatsapp):
    spoken = (np.sin(np.arange(8000) * (2 * np.pi * 300 / 8000)) * 0.3).astype(np.float32)
    note = VoiceNote(to_ogg_opus(audio.from_float(spoken)), 1000, bytes([50] * 64))
    async with linked.running():
        result = await linked.channel.send(replace(out("מתי נוח?"), voice=note))
        assert (result.state, result.voice) == (MessageState.SENT, True)
        (heard,) = whatsapp.heard(RUTI)
        assert heard == {
            "sound": note.sound,
            "ptt": True,
            "seconds": 1,
            "mimetype": "audio/ogg; codecs=opus",
            "shape": [50] * 64,
        }
        whatsapp.fault(media=["500", "500", "500"])
        result = await linked.channel.send(replace(out("ואיפה?", 2), voice=note))
        assert (result.state, result.voice) == (MessageState.SENT, False)
        assert whatsapp.got(RUTI) == ["", "ואיפה?"]


async def test_codes_nobody_scanned_end(linked, whatsapp):
    async with linked.running(pair=False):
        linked.order()
        await linked.is_(Link.PAIRING)
        whatsapp.fault(now="408")
        await linked.is_(Link.UNPAIRED)
        assert linked.channel.health().error == "qr_ended"


async def test_a_message_whatsapp_refuses_has_failed(linked, whatsapp):
    async with linked.running():
        whatsapp.fault(ack=["463"])
        refused = await linked.channel.send(out("הצעה"))
        assert (refused.state, refused.error) == (MessageState.FAILED, "reachout_limited")
        assert (await linked.channel.send(out("תשובה", 2))).state is MessageState.SENT
        assert whatsapp.got(RUTI) == ["תשובה"]


async def test_a_killed_bridge_loses_and_doubles_nothing(linked, whatsapp):
    """Killed while a message is being stored, and while an answer is on its way."""
    storing, go = anyio.Event(), anyio.Event()

    async def slowly(told):
        storing.set()
        await go.wait()

    linked.before = slowly
    async with linked.running():
        whatsapp.say(RUTI, "ראשונה")
        await storing.wait()
        assert whatsapp.state()["waiting"] == 1, "WhatsApp must not hear of it before it is stored"
        linked.bridges()[0].kill()
        go.set()
        await until(lambda: whatsapp.state()["waiting"] == 0)
        await linked.is_(Link.OPEN)
        assert linked.texts == ["ראשונה"]

        whatsapp.fault(ack=["silent"])  # the message arrives, the server's answer does not
        results = []

        async def send():
            results.append(await linked.channel.send(out("תשובה")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await until(lambda: whatsapp.got(RUTI) == ["תשובה"])
            linked.bridges()[0].kill()
        assert results[0].state is MessageState.QUEUED
        await until(lambda: linked.state is not Link.OPEN)
        await linked.is_(Link.OPEN)
        assert (await linked.channel.send(out("תשובה"))).state is MessageState.SENT
        assert len(whatsapp.state()["sent"]) == 2
        assert whatsapp.got(RUTI) == ["תשובה"]


async def test_what_came_while_we_were_away_comes_once_and_in_order(linked, whatsapp):
    async with linked.running():
        whatsapp.say(RUTI, "לפני")
        await until(lambda: linked.got)
        linked.order(wanted=False)
        await linked.is_(Link.OFF)
        for number in range(60):
            whatsapp.say(RUTI, f"בינתיים {number}")
        linked.order()
        await until(lambda: len(linked.got) == 61)
        await until(lambda: whatsapp.state()["waiting"] == 0)
        assert linked.texts == ["לפני", *(f"בינתיים {number}" for number in range(60))]


async def test_of_two_processes_one_has_the_account(linked, whatsapp):
    other = linked.another()
    async with linked.running() as tasks:
        tasks.start_soon(other.run, linked.sink)
        await until(lambda: other.health().error == "other_process")
        assert linked.state is Link.OPEN
        assert len(linked.bridges()) == 1

        def take_it_away():
            linked.store.drop_lease(linked.channel._owner)
            assert linked.store.take_lease(other._owner, 15)

        await to_thread.run_sync(take_it_away)
        await until(lambda: other.health().state is Link.OPEN)  # it takes over; the first may write no more
        await until(lambda: len(linked.bridges()) == 1)
        whatsapp.say(RUTI, "שלום")
        await until(lambda: linked.got)


@pytest.mark.slow
async def test_a_line_that_went_dead_is_left(linked, whatsapp):
    async with linked.running():
        whatsapp.fault(now="stall")
        await until(lambda: linked.state is not Link.OPEN)
        assert linked.channel.health().error == "connection_lost"
        await linked.is_(Link.OPEN)
