"""A linked device for the contract suite: the channel on its real link, and a bridge in this process that dials in.

What the Node program does behind the link is shown by `tests/channels/test_whatsapp_bridge.py`; here it answers as that
does, at once, so that what is asked of every channel is asked of this one too.
"""

import base64
import json
from contextlib import asynccontextmanager

import anyio
from websockets.asyncio.client import connect

from moked.channels import Link
from moked.channels.baileys import BaileysChannel, Bridge
from moked.channels.bridge_link import BridgeLink
from moked.channels.orders import Orders

TOKEN = "secret"


class Store:
    """`crm.whatsapp_store` of a device that is linked."""

    def __init__(self):
        self.told = []

    def auth_get(self, category, ids):
        return {}

    def auth_set(self, owner, rows):
        """Nothing is kept."""

    def tell(self, health, *, version="", count=""):
        self.told.append((health.state, count))


class LinkedDevice:
    """`sent`: messages by their id, as whoever gets them has them. `errors`: what the next ones are answered with, such
    as '463', 'closed'; 'silent': it arrives, and the link breaks before that is said. `deaf`: no sound can be left."""

    def __init__(self):
        self.sent, self.read, self.media, self.heard = {}, [], {}, []
        self.errors, self.deaf = [], False
        self.store = Store()
        self._socket = None
        self._seq = 0

    @asynccontextmanager
    async def running(self):
        """A channel that is open."""
        channel = BaileysChannel(Bridge(command=(), pace=0), self.store)
        channel._sink = self._sink
        link = BridgeLink(TOKEN, serve=channel._keys, hear=channel._heard)
        async with link.listening(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._bridge, link)
            tasks.start_soon(channel._conduct, link, Orders(wanted=True), None)
            await _until(lambda: channel.health().state is Link.OPEN)
            yield channel
            tasks.cancel_scope.cancel()

    async def _sink(self, told):
        self.heard.append(told)

    async def tell(self, event, **data):
        """Resolves when it is stored."""
        self._seq += 1
        heard = self._acknowledged = anyio.Event()
        await self._socket.send(json.dumps({"seq": self._seq, "event": event, "data": data}))
        with anyio.fail_after(10):
            await heard.wait()

    async def _bridge(self, link):
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Bridge-Run": "1"}
        while True:  # as the program does, where the link breaks
            async with connect(f"ws://127.0.0.1:{link.port}/", additional_headers=headers) as socket:
                self._socket = socket
                async for frame in socket:
                    await self._hear(socket, *_parted(frame))
            await anyio.sleep(0.01)

    async def _hear(self, socket, said, beside):
        if "ack" in said:
            self._acknowledged.set()
            return
        method, params = said["method"], said.get("params", {})
        answer, sound = {"id": said["id"], "result": {}}, None
        match method:
            case "connect":
                await socket.send(json.dumps(answer))
                self._seq += 1
                opened = {"state": "open", "account": "972501111111:5@s.whatsapp.net"}
                self._acknowledged = anyio.Event()
                await socket.send(json.dumps({"seq": self._seq, "event": "state", "data": opened}))
                return
            case "send_text" | "send_voice":
                if method == "send_voice" and self.deaf:
                    answer = {"id": said["id"], "error": {"code": "failed", "message": "no media host"}}
                else:
                    error = self.errors.pop(0) if self.errors else ""
                    if error in ("", "silent"):
                        voice = {"sound": beside, **params} if method == "send_voice" else None
                        self.sent.setdefault(params["id"], (params["jid"], params.get("text", ""), voice))
                    if error == "silent":
                        await socket.close()
                        return
                    answer["result"] = {"error": error}
            case "read":
                self.read += params["ids"]
            case "download":
                sound = self.media.get(base64.b64decode(params["raw"]).decode())
                if sound is None:
                    answer = {"id": said["id"], "error": {"code": "failed", "message": "404"}}
        text = json.dumps(answer).encode()
        await socket.send(text.decode() if sound is None else len(text).to_bytes(4, "big") + text + sound)


def _parted(frame):
    if isinstance(frame, str):
        return json.loads(frame), b""
    end = 4 + int.from_bytes(frame[:4], "big")
    return json.loads(frame[4:end]), frame[end:]


async def _until(what):
    with anyio.fail_after(10):
        while not what():
            await anyio.sleep(0.005)
