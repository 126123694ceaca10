"""A message that comes by webhook is answered by the same server, through the one door, and becomes a lead."""

import time

import anyio
import httpx2
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from emulators.graph_api import GraphApi
from moked.channels import MessageState
from moked.crm import db
from moked.crm.models import Lead
from moked.crm.tables_policy import OutboundMessage
from tests.wire.house import house

pytestmark = pytest.mark.anyio

RUTI = "972502345678"


async def test_who_writes_is_answered_and_becomes_a_lead(tmp_path):
    meta, url = GraphApi("100", "token", secret="app secret"), f"sqlite:///{tmp_path}/wire.db"
    meta.window.add(RUTI)
    async with meta.running() as base:
        cloud = {"phone_id": "100", "token": "token", "secret": "app secret", "base_url": base}
        values = {f"whatsapp_cloud_{name}": value for name, value in cloud.items()}
        async with (
            house(tmp_path, database_url=url, whatsapp="cloud", **values) as home,
            httpx2.AsyncClient() as client,
        ):

            async def post(**told):
                body = meta.webhook(**told)
                headers = {"X-Hub-Signature-256": meta.sign(body), "Content-Type": "application/json"}
                answer = await client.post(f"{home.base_url}/webhook/whatsapp", content=body, headers=headers)
                assert answer.status_code == 200

            text = {"body": "יש לי נזילה במטבח"}
            await post(
                messages=[
                    {"id": "wamid.1", "from": RUTI, "timestamp": str(int(time.time())), "type": "text", "text": text}
                ]
            )
            with anyio.fail_after(30):
                while not meta.sent:
                    await anyio.sleep(0.05)
            (sent,) = meta.sent
            assert (sent["to"], sent["type"]) == (RUTI, "text")
            engine = db.connect(url)

            def row(table):
                with Session(engine) as session:
                    return session.scalars(select(table)).one()

            with anyio.fail_after(10):
                while row(OutboundMessage).state is not MessageState.SENT:
                    await anyio.sleep(0.05)
            await post(statuses=[{"id": row(OutboundMessage).provider_id, "status": "read"}])
            assert row(OutboundMessage).state is MessageState.READ
            assert (row(Lead).need, row(Lead).phone) == ("יש לי נזילה במטבח", f"+{RUTI}")
            engine.dispose()
