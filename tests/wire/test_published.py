"""What is published at the desk is said to the next caller, by a server that was not restarted; on real sockets."""

import re

import anyio
import httpx2
import pytest
from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from emulators.llm import Answer, LlmEmulator
from moked.crm import db
from moked.crm.access import Access
from moked.crm.agent_versions import AgentVersions
from moked.crm.analytics import Analytics
from moked.crm.audit import Actor
from moked.crm.models import UserAccount
from moked.crm.permissions import UserRole
from moked.dialog.published import Part, files_of
from moked.simulate.scenario import HangUp, Say
from tests.wire.house import GREETING, database, house
from tests.wire.voices import says

pytestmark = pytest.mark.anyio


def publish(url, business_id, profile, text):
    """As the page of another process does it, which tells nobody."""
    engine = db.connect(url)
    Access(engine).set_up_owner(business_id, "dana@example.com", "דנה כהן", "סיסמה ארוכה מאוד")
    with Session(engine) as session:
        user = session.scalars(select(UserAccount)).one()
    by = Actor(user.id, business_id, user.name, user.email, UserRole.OWNER, 1)
    version = AgentVersions(engine, files_of(profile, None)).publish(by, Part.PROFILE, text, base=0)
    engine.dispose()
    return version


async def test_the_next_caller_hears_what_was_published(tmp_path):
    llm = LlmEmulator(brain=lambda body: Answer("הבנתי."), first_token_ms=50)
    with database("sqlite", tmp_path) as url:
        async with house(tmp_path, llm=llm, database_url=url) as home:
            talk = [Say(audio=says("יש לי נזילה")), HangUp("agent_done")]
            before = await home.place(talk)
            assert before.turns[0]["said"].startswith(GREETING)
            profile = tmp_path / "business.yaml"
            text = profile.read_text("utf-8").replace("שלום, מדבר העוזר הקולי.", "ערב טוב, כאן הבוט של אורן.")
            text = text.replace("03-5550000", "03-5551111")
            version = await to_thread.run_sync(publish, url, home.house.business_id, profile, text)
            with anyio.fail_after(10):
                while home.house.answers.current.business.transfer_number != "+97235551111":
                    await anyio.sleep(0.05)
            after = await home.place(talk)
            assert after.turns[0]["said"].startswith("ערב טוב, כאן הבוט של אורן.")
            assert home.house.follower.version == version == 1
            assert "ערב טוב" not in str(llm.requests[0])
            figures = Analytics(db.connect(url))
            today = figures.today("Asia/Jerusalem")
            total = figures.period(home.house.business_id, "Asia/Jerusalem", today, today, simulated=True).total
            assert total.total == 2
            assert total.tokens > 0
            assert total.percentile("response", 50) > 0


async def test_what_is_published_holds_after_a_restart(tmp_path):
    with database("sqlite", tmp_path) as url:
        async with house(tmp_path, database_url=url) as home:
            profile = tmp_path / "business.yaml"
            text = profile.read_text("utf-8").replace("אורן אינסטלציה", "צינור ובניו")
            await to_thread.run_sync(publish, url, home.house.business_id, profile, text)
        async with house(tmp_path, database_url=url) as home:
            assert home.house.business.name == "צינור ובניו"
            assert home.house.follower.version == 1


async def test_the_desk_of_a_running_server_rehearses_and_speaks(tmp_path):
    """With the language model of the calls, in another loop than theirs; with the voice of the calls, in their loop."""
    llm = LlmEmulator(brain=lambda body: Answer("ספרו לי עוד על הנזילה?"), first_token_ms=10)
    with database("sqlite", tmp_path) as url:
        async with house(tmp_path, llm=llm, database_url=url) as home:
            token = await to_thread.run_sync(log_in, url, home.house.business_id)
            cookies = {"moked_session": token}
            async with httpx2.AsyncClient(base_url=home.base_url, cookies=cookies, timeout=30) as client:
                page = (await client.get("/settings/prompt")).text
                form = {"csrf": re.search(r'name="csrf" content="([^"]+)"', page)[1]}
                draft = {"part": "prompt", "base": "0", "text": "אומרים רק אמת.\n{facts}"}
                begun = await client.post("/settings/rehearsal", data={**form, **draft})
                assert begun.status_code == 302, begun.text
                assert GREETING in (await client.get("/settings/rehearsal")).text
                said = await client.post("/settings/rehearsal/say", data={**form, "text": "יש לי נזילה"})
                assert said.status_code == 302
                assert "ספרו לי עוד על הנזילה?" in (await client.get("/settings/rehearsal")).text
                assert "אומרים רק אמת." in str(llm.requests[-1])
                heard = await client.get("/settings/pronunciation/listen", params={"said": "בּוֹיְלֶר"})
                assert heard.headers["content-type"] == "audio/wav"
                assert len(heard.content) > 2000
                published = await client.post("/settings/rehearsal/publish", data=form)
                assert published.headers["location"] == "/settings/prompt?told=published"
            with anyio.fail_after(10):
                while home.house.follower.version != 1:
                    await anyio.sleep(0.02)
            assert home.house.first.plan.prompt.startswith("אומרים רק אמת.")


def log_in(url, business_id):
    engine = db.connect(url)
    access = Access(engine)
    access.set_up_owner(business_id, "dana@example.com", "דנה כהן", "סיסמה ארוכה מאוד")
    found = access.log_in("dana@example.com", "סיסמה ארוכה מאוד", address="127.0.0.1", browser="test")
    engine.dispose()
    return found.token
