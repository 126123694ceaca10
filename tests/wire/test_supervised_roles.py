"""The browser's phone and its supervisor where the calls are in another process than the pages, without Redis."""

import base64
import json
from contextlib import AsyncExitStack, suppress

import anyio
import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bench.viewers import OWNER, Desk
from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from moked import audio
from moked.setup_link import SetupLink
from tests.wire.house import PROFILE
from tests.wire.processes import free_port, moked
from tests.wire.test_roles import both

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

VOICE = bytes([0x20, 0xA0]) * 80  # 20 ms, loud, and nothing our own voice ever says


class Phone:
    """A page's call: silence out, everything in."""

    def __init__(self):
        self.heard, self.cleared = b"", 0

    async def talk(self, place, origin):
        async with connect(place["url"], origin=origin, compression=None, proxy=None) as line:
            start = {
                "streamSid": "MZ1",
                "callSid": place["sid"],
                "accountSid": place["account"],
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {"token": place["token"]},
            }
            await line.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._hear, line, tasks.cancel_scope)
                with suppress(ConnectionClosed):
                    for chunk in range(1, 3000):
                        payload = base64.b64encode(audio.silence(20)).decode()
                        media = {"payload": payload, "chunk": str(chunk), "timestamp": str(chunk * 20)}
                        await line.send(json.dumps({"event": "media", "streamSid": "MZ1", "media": media}))
                        await anyio.sleep(0.02)

    async def _hear(self, line, done):
        with suppress(ConnectionClosed):
            async for text in line:
                message = json.loads(text)
                if message["event"] == "media":
                    self.heard += base64.b64decode(message["media"]["payload"])
                elif message["event"] == "mark":
                    await line.send(text)
                else:
                    self.cleared += 1
        done.cancel()


async def until(true, within_s=20):
    with anyio.fail_after(within_s):
        while not true():
            await anyio.sleep(0.02)


async def test_calls_in_another_process_are_made_heard_taken_over_and_ended(tmp_path):
    profile, data = tmp_path / "business.yaml", tmp_path / "data"
    profile.write_text(PROFILE, encoding="utf-8")
    data.mkdir()
    web, media = (f"http://127.0.0.1:{port}" for port in (free_port(), free_port()))
    async with AsyncExitStack() as stack:
        values = {
            "data_dir": data,
            "business_profile": profile,
            "public_base_url": web,
            "media_public_url": media,
            "speech_emulator_host": await stack.enter_async_context(GoogleSpeech(mode="codec").running()),
            "texttospeech_emulator_host": await stack.enter_async_context(GoogleTts(first_byte_ms=20).serving()),
            "stt_fallback": "none",
            "tts_rate": 2.0,
        }
        media_port, web_port = (int(url.rpartition(":")[2]) for url in (media, web))
        await both(
            stack,
            moked(tmp_path / "media", "serve", "--role", "media", port=media_port, **values),
            moked(tmp_path / "web", "serve", "--role", "web", port=web_port, **values),
        )
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=web, trust_env=False))
        desk = Desk(http)
        await desk.enter(f"/setup?token={SetupLink(data).make()}")
        token = {"X-CSRF-Token": desk.csrf}

        place = (await http.post("/phone/calls", headers=token)).json()
        assert place["url"] == f"{media.replace('http', 'ws')}/media/browser"
        with pytest.raises(InvalidStatus):
            async with connect(place["url"], origin="http://evil.example", proxy=None):
                pass
        phone, sid = Phone(), place["sid"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(phone.talk, place, web)
            await until(lambda: len(phone.heard) > 4000)  # half a second of the greeting

            given = (await http.post(f"/calls/{sid}/take-over", headers=token)).json()
            assert given["url"] == f"{media.replace('http', 'ws')}/media/supervise"
            async with connect(given["url"], origin=web, compression=None, proxy=None) as line:
                await line.send(json.dumps({"event": "start", "call": sid, "token": given["token"]}))
                await line.send(json.dumps({"event": "take_over"}))
                events = []
                while not any(one["event"] == "audio" for one in events) or not any(one.get("mine") for one in events):
                    events.append(json.loads(await line.recv()))
                await until(lambda: phone.cleared == 1)
                for _ in range(50):
                    await line.send(json.dumps({"event": "media", "payload": base64.b64encode(VOICE).decode()}))
                    await anyio.sleep(0.02)
                await until(lambda: VOICE * 10 in phone.heard)
                before = len(phone.heard)
                await line.send(json.dumps({"event": "hand_back", "note": ""}))
                await until(lambda: len(phone.heard) > before + 4000)  # the agent is back

            ended = await http.post(f"/calls/{sid}/end", headers=token)
            assert ended.status_code == httpx2.codes.OK
        after = (await http.post(f"/phone/calls/{sid}/next", headers=token)).json()
        assert after["over"]
        page = (await http.get(f"/calls/{sid}")).text
        assert "כניסה לשיחה במקום הסוכן: <bdi>Bench</bdi>" in page
        assert OWNER["email"] not in page
