"""From a caller's words to the owner's mail, over real sockets: the product with its worker, on both databases."""

import anyio
import pytest
from anyio import to_thread

from emulators.receivers import SmtpServer
from moked.crm.access import Access
from moked.crm.job_store import JobStore
from moked.crm.outbox import call_key
from moked.crm.tables_jobs import JobState
from moked.simulate.scenario import HangUp, Say
from tests.databases import KINDS
from tests.wire.house import database, house
from tests.wire.voices import says

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_owner_is_told_of_a_call_seconds_after_it(kind, tmp_path):
    with SmtpServer().running() as smtp, database(kind, tmp_path) as url:
        values = {"database_url": url, "smtp_host": "127.0.0.1", "smtp_port": smtp.port, "smtp_security": "none"}
        async with house(tmp_path, work=True, smtp_from="moked@example.com", **values) as home:
            engine = home.crm._write.kw["bind"]
            await to_thread.run_sync(
                Access(engine).set_up_owner, home.house.business_id, "dana@example.com", "דנה", "סיסמה ארוכה מאוד"
            )
            placed = await home.place([Say(audio=says("המזגן בסלון מטפטף")), HangUp("agent_done")], events=False)
            sid = placed.result.call_sid
            jobs = JobStore(engine)
            with anyio.fail_after(30):
                while (await to_thread.run_sync(jobs.status, call_key(sid))).state is not JobState.DONE:
                    await anyio.sleep(0.05)
        ((to, mail),) = smtp.received
        assert to == "dana@example.com"
        assert f"{home.base_url}/leads/" in mail.get_body(("plain",)).get_content()
