"""A linked account for tests: the real bridge on a database of its own, and what came of it."""

from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import anyio

from moked.channels import BAILEYS, Inbound, Link, Report, install
from moked.channels.baileys import BaileysChannel, Bridge
from moked.crm import db
from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.crm.whatsapp_store import WhatsAppStore, account_row

SECONDS = 60  # nobody waits so long, but on a machine that is busy with others


async def until(what, seconds=SECONDS):
    with anyio.fail_after(seconds):
        while not what():
            await anyio.sleep(0.02)


class Linked:
    """`got`: messages, as stored; `reports`; `before` is awaited with each message before it counts as stored."""

    def __init__(self, server, bridge, path):
        self.server = server
        self.engine = db.connect(f"sqlite:///{path}")
        db.migrate(self.engine)
        self.business = Crm(self.engine).ensure_business("מזגנים בצפון")
        self.store = WhatsAppStore(self.engine, self.business, Sealer(bytes(32)))
        self.bridge = Bridge(
            command=install.command(bridge),
            url=server.url,
            media_hosts=(server.host,),
            pace=0.02,
            keep_alive_ms=200,
            environment={"NODE_EXTRA_CA_CERTS": str(server.secure[0])} if server.secure else {},
        )
        self.channel = self.another()
        self.got, self.reports, self.states = [], [], []

    def another(self):
        return BaileysChannel(self.bridge, self.store)

    def order(self, **changed):
        with self.store._writing() as session:
            row = account_row(session, self.business, BAILEYS, datetime.now(UTC))
            for name, value in {"wanted": True, **changed}.items():
                setattr(row, name, value)
            row.asked += 1

    async def before(self, told):
        pass

    async def sink(self, told):
        match told:
            case Inbound():
                await self.before(told)
                if told.provider_id not in [one.provider_id for one in self.got]:
                    self.got.append(told)
            case Report():
                self.reports.append(told)

    @property
    def state(self):
        return self.channel.health().state

    async def is_(self, *states):
        await until(lambda: self.state in states)

    @property
    def texts(self):
        return [one.text for one in self.got]

    @asynccontextmanager
    async def running(self, *, pair=True):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.channel.run, self.sink)
            if pair:
                self.order()
                await self.is_(Link.PAIRING)
                self.server.scan(self.channel.health().qr)
                await self.is_(Link.OPEN)
            yield tasks
            tasks.cancel_scope.cancel()
        self.engine.dispose()

    def bridges(self):
        """Process ids of bridges that run for this test; one that has ended, waited for or not yet, is none."""
        import psutil

        running = []
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # a zombie is one of these too
                if "bridge.mjs" in " ".join(child.cmdline()):
                    running.append(child)
        return running
