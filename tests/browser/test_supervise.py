"""A call on the board, from a real browser with a microphone: heard, instructed, taken over, given back, ended.

The whole product in this process on real sockets; the caller is simulated, and records what reaches their ear.
"""

import os
from functools import partial
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from emulators.llm import Answer, LlmEmulator
from moked import audio
from moked.crm import db
from moked.crm.access import Access
from moked.simulate.scenario import HangUp, Say, Wait
from tests.browser.test_newcomer import chromium, microphone, until
from tests.web.desk_office import PASSWORD
from tests.wire.house import house
from tests.wire.voices import says

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OWNER = "dana@example.com"
SHOTS = os.environ.get("MOKED_SCREENSHOTS", "")
DESKTOP = {"width": 1280, "height": 900}
NOTE = "סיכמנו על יום שני"


@pytest.fixture
def stage(tmp_path):
    """The product, and what starts work in its loop."""
    model = LlmEmulator(brain=lambda body: Answer("בשמחה."), first_token_ms=5, tokens_per_s=1000)
    values = {"database_url": f"sqlite:///{tmp_path}/moked.db"}
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(house(tmp_path, llm=model, **values)) as home,
    ):
        yield portal, home


def test_a_supervisor_hears_instructs_takes_over_and_ends_a_call(stage, tmp_path):
    portal, home = stage
    engine = db.connect(home.house.settings.database)
    access = Access(engine)
    access.set_up_owner(home.house.business_id, OWNER, "דנה כהן", PASSWORD)
    token = access.log_in(OWNER, PASSWORD, address="x", browser="").token
    steps = [Say(audio=says("יש לי נזילה")), Wait(60_000), HangUp()]
    with chromium(microphone(tmp_path)) as browser:
        context = browser.new_context(
            locale="he-IL", permissions=["microphone"], viewport={"width": 1280, "height": 900}
        )
        context.add_cookies([{"name": "moked_session", "value": token, "url": home.base_url}])
        page = context.new_page()
        page.set_default_timeout(20_000)
        complaints = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{home.base_url}/board")
        placed = portal.start_task_soon(partial(home.place, steps))
        card = page.locator("#live-calls [data-call]")
        card.get_by_role("button", name="האזנה").click()
        card.get_by_text("אותך לא שומעים").wait_for()
        until(lambda: int(card.get_attribute("data-caller-played") or 0) > 8000)
        until(lambda: int(card.get_attribute("data-agent-played") or 0) > 8000)

        card.get_by_label("הנחיה לסוכן").fill("תציע לו עשרה אחוז")
        card.get_by_role("button", name="שליחה").click()
        card.get_by_text("הסוכן יפעל לפי זה").wait_for()

        card.get_by_role("button", name="כניסה לשיחה").click()
        card.get_by_text("הפונה שומע אותך עכשיו").wait_for()
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / "supervise-desktop.png")
        sid = card.get_attribute("data-call")
        taken = next(iter(home.calls.values()))
        page.wait_for_timeout(7_000)  # the microphone is silent for six seconds, then speaks
        card.get_by_label("מה כדאי שהסוכן ידע?").fill(NOTE)
        card.get_by_role("button", name="החזרה לסוכן").click()
        card.get_by_text("אותך לא שומעים").wait_for()
        until(lambda: any(turn["said"].startswith("אני שוב") for turn in portal.call(report, home, sid)["turns"]))

        card.get_by_text("העברה או סיום").click()
        card.get_by_role("button", name="ניתוק השיחה").click()
        result = placed.result(30).result
        assert taken.call_sid == sid
        assert complaints == []
    report_ = result.report
    kinds = {event["kind"]: event["data"] for event in report_["events"]}
    assert kinds["taken_over"]["who"] == kinds["handed_back"]["who"] == "דנה כהן"
    assert kinds["handed_back"]["text"] == NOTE
    assert report_["detail"] == "ended_by_person"
    start, end = (
        at_ms * audio.SAMPLES_PER_MS for at_ms in (kinds["taken_over"]["at_ms"] + 500, kinds["handed_back"]["at_ms"])
    )
    heard = b"".join(
        part.audio[max(0, start - part.start_sample) : max(0, end - part.start_sample)] for part in result.heard
    )
    assert audio.rms(heard) > 300  # the person's own voice, and nobody else's
    assert len(audio.silence(3000)) < len(heard)
    told = [row.action for row in access.audit_log(home.house.business_id)[0]]
    assert told[:5] == ["call.ended", "call.handed_back", "call.taken_over", "call.whispered", "call.listened"]
    engine.dispose()


async def report(home, sid):
    return home.crm.call_report(sid) or {"turns": []}
