"""What people do at the desk, in Chromium."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from moked import asgi
from moked.crm.lead_fields import FieldKind
from moked.crm.permissions import UserRole
from tests.web.desk_office import PASSWORD

pytestmark = pytest.mark.browser

SHOTS = os.environ.get("MOKED_SCREENSHOTS", "")
"""A folder to keep a picture of every page in, for people to look at."""

OWNER = "dana@example.com"
GRIP = {"x": 20, "y": 90}  # in a card, beside its words
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def log_in(page, email=OWNER, password=PASSWORD):
    page.goto("/login")
    page.get_by_label("דואר אלקטרוני").fill(email)
    page.get_by_label("סיסמה").fill(password)
    page.get_by_role("button", name="כניסה").click()


def test_the_first_run_and_the_login(site):
    page = site.page()
    page.goto("/")
    assert "moked admin-link" in page.content()
    page.goto(f"/setup?token={site.office.setup.make()}")
    page.get_by_label("שם מלא").fill("דנה כהן")
    page.get_by_label("דואר אלקטרוני").fill(OWNER)
    page.get_by_label("סיסמה", exact=False).first.fill(PASSWORD)
    page.get_by_label("הסיסמה שוב").fill(PASSWORD)
    page.get_by_role("button", name="פתיחת החשבון").click()
    page.wait_for_url("**/login?told=set_up&next=/phone")
    log_in(page)
    page.wait_for_url("**/board")
    assert page.get_by_role("heading", name="לוח", exact=True).is_visible()
    page.goto("/")
    assert page.url.endswith("/board")


def test_a_lead_is_dragged_to_another_stage(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto("/leads/board")
    lead = furnished.leads[0]
    card, column = page.locator(f"[data-lead='{lead}']"), page.locator("[data-stage=in_progress]")
    with page.expect_response(f"**/leads/{lead}/move") as answer:
        card.drag_to(column, source_position=GRIP, target_position=GRIP)
    assert answer.value.status == 200
    assert column.locator(f"[data-lead='{lead}']").is_visible()
    assert column.locator("[data-count]").inner_text() == "1"
    page.reload()
    assert page.locator(f"[data-stage=in_progress] [data-lead='{lead}']").is_visible()


def test_a_drag_the_rules_forbid_goes_back_and_says_why(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto("/leads/board")
    lead = furnished.leads[0]
    card = page.locator(f"[data-lead='{lead}']")
    with page.expect_response(f"**/leads/{lead}/move"):
        card.drag_to(page.locator("[data-stage=in_progress]"), source_position=GRIP, target_position=GRIP)
    with page.expect_response(f"**/leads/{lead}/move") as answer:
        card.drag_to(page.locator("[data-stage=new]"), source_position=GRIP, target_position=GRIP)
    assert answer.value.status == 409
    page.get_by_role("alert").get_by_text("לא חוזר להיות חדש").wait_for()
    assert page.locator(f"[data-stage=in_progress] [data-lead='{lead}']").is_visible()
    furnished.complaints.remove(next(one for one in furnished.complaints if "409" in one))


def test_a_lead_is_moved_with_the_keyboard_alone(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto("/leads/board")
    lead = furnished.leads[0]
    page.locator(f"[data-lead='{lead}'] a").first.focus()
    for _ in range(2):
        page.keyboard.press("Tab")  # past the telephone number, to the stages
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter", "Tab"):  # open, two stages on, take it, to the button
        page.keyboard.press(key)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator(f"[data-stage=meeting] [data-lead='{lead}']").is_visible()


def test_edit_note_task_and_search(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto(f"/leads/{furnished.leads[0]}")
    row = page.locator("dl.fields > div").filter(has_text="טלפון")
    row.get_by_text("עריכה").click()
    row.get_by_role("textbox").fill("052-1234567")
    row.get_by_role("button", name="שמירה").click()
    page.get_by_role("status").get_by_text("השינוי נשמר").wait_for()
    assert page.get_by_text("נכתב ביד: דנה כהן").is_visible()
    page.get_by_label("הערה חדשה").fill("חזרתי אליה")
    page.get_by_role("button", name="הוספת הערה").click()
    assert page.get_by_text("חזרתי אליה").is_visible()
    page.get_by_role("button", name="בוצע").first.click()
    assert page.get_by_role("button", name="החזרה לפתוחות").is_visible()
    page.get_by_role("searchbox").first.fill("052-1234")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=*")
    assert page.locator("main li a").first.get_by_text("052-123-4567").is_visible()


def test_it_runs_from_right_to_left_with_numbers_from_left_to_right(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto("/leads")
    assert page.evaluate("getComputedStyle(document.documentElement).direction") == "rtl"
    first, last = page.locator("thead th").first.bounding_box(), page.locator("thead th").last.bounding_box()
    assert first["x"] > last["x"]
    number = page.locator("tbody td bdi").first
    assert number.evaluate("node => getComputedStyle(node).direction") == "ltr"
    assert number.inner_text() == "050-234-5678"
    assert page.evaluate("document.fonts.check('16px Heebo', 'מוקד')")
    page.goto("/calls/CA0")
    caller, agent = page.locator(".chat-start").first.bounding_box(), page.locator(".chat-end").first.bounding_box()
    assert caller["x"] + caller["width"] >= agent["x"] + agent["width"]
    bar = page.locator("svg.waterfall rect:not(.track)")
    assert bar.nth(0).bounding_box()["x"] < bar.nth(2).bounding_box()["x"]  # time runs to the right
    page.context.add_cookies([{"name": "moked_language", "value": "en", "url": furnished.url}])
    page.goto("/leads")
    assert page.evaluate("getComputedStyle(document.documentElement).direction") == "ltr"


def test_language_and_theme_are_switched_on_the_page(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto("/tasks")
    page.locator("header summary").click()
    page.get_by_role("button", name="כהה").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.locator("header summary").click()
    page.get_by_role("button", name="English").click()
    assert page.get_by_role("heading", name="Tasks").is_visible()
    assert page.url.endswith("/tasks")


def test_who_may_only_look_sees_no_way_to_change(furnished):
    page = furnished.page(furnished.office.person(UserRole.VIEWER, furnished.me), viewport=DESKTOP)
    page.goto(f"/leads/{furnished.leads[0]}")
    assert page.locator("main form").count() == 0
    page.goto("/leads/board")
    assert page.locator("[draggable=true]").count() == 0
    assert page.locator("script").count() == 0


def test_a_style_or_script_from_elsewhere_does_not_run(furnished):
    page = furnished.page(OWNER)
    page.goto("/board")
    page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.evil = 1';"
        " document.body.append(s); const i = document.createElement('img'); i.src = 'https://evil.example/x';"
        " document.body.append(i) }"
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.evil") is None
    assert len([one for one in furnished.complaints if "Content Security Policy" in one]) == 2
    furnished.complaints.clear()


def paths(site):
    for name, kind, choices in (("אזור", "choice", "צפון\nדרום"), ("תקציב", "number", ""), ("רחוב", "text", "")):
        site.office.edits.add_lead_field(site.me, name, FieldKind(kind), choices)
    field = site.office.desk.lead_field_rows(site.office.business)[0].id
    contact = site.office.desk.lead(site.office.business, site.leads[0]).contact.id
    return {
        "board": "/board", "phone": "/phone", "wall": "/wall",
        "leads": "/leads", "stages": "/leads/board", "lead": f"/leads/{site.leads[0]}",
        "contacts": "/contacts", "contact": f"/contacts/{contact}", "calls": "/calls", "call": "/calls/CA0",
        "broken": "/calls/CA90", "tasks": "/tasks", "account": "/account", "users": "/users", "audit": "/audit",
        "privacy": "/privacy", "person": f"/contacts/{contact}/privacy",
        "filters": f"/leads?f{field}=∅", "jobs": "/jobs", "calendar": "/account/calendar",
        "missing": "/leads/999999", "search": "/search?q=מזגן", "merge": f"/contacts/{contact}/merge?q=מזרחי",
        "setup_leads": "/leads/setup", "imports": "/contacts/import", "exports": "/export?stage=new",
        "inbox": "/inbox", "thread": f"/inbox/{site.talk}", "channels": "/channels",
    }  # fmt: skip


LOOKS = [("desktop", "light"), ("desktop", "dark"), ("phone", "light"), *([("phone", "dark")] if SHOTS else [])]


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_axe_finds_no_serious_fault_and_nothing_overflows(furnished, size, theme):
    page = furnished.page(OWNER, viewport=DESKTOP if size == "desktop" else PHONE, bypass_csp=True, color_scheme=theme)
    stranger = furnished.page(viewport=page.viewport_size, bypass_csp=True, color_scheme=theme)
    entry = {"login": "/login", "setup": f"/setup?token={furnished.office.setup.make()}", "join": "/join?token=x"}
    faults = []
    for who, where in ((page, paths(furnished)), (stranger, entry)):
        for name, path in where.items():
            who.goto(path)
            if SHOTS:
                who.screenshot(path=Path(SHOTS) / f"{name}-{size}-{theme}.png", full_page=True)
            found = Axe().run(who, options={"resultTypes": ["violations"]}).response["violations"]
            faults += [
                (name, one["id"], one["nodes"][0]["html"][:160])
                for one in found
                if one["impact"] in ("serious", "critical")
            ]
            if who.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                faults.append((name, "wider than the window", ""))
    furnished.complaints[:] = [one for one in furnished.complaints if "404" not in one]  # two pages that are not there
    assert faults == []


def test_a_call_is_watched_word_by_word(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    with page.expect_response("**/board/events"):
        page.goto("/board")
    page.wait_for_timeout(300)  # until the stream is open
    furnished.tell("CA95", "call.started", caller="+972501112222", simulated=False)
    call = page.locator("[data-call=CA95]")
    call.get_by_text("050-111-2222").wait_for()
    furnished.tell("CA95", "turn.partial", text="המזגן")
    call.get_by_text("המזגן", exact=True).wait_for()
    furnished.tell("CA95", "turn.partial", text="המזגן <i>מטפטף</i>")
    call.get_by_text("המזגן <i>מטפטף</i>").wait_for()
    assert call.get_by_text("המזגן", exact=True).count() == 0
    furnished.tell("CA95", "turn.committed", turn=1, text="המזגן מטפטף", dtmf="")
    furnished.tell("CA95", "reply.text", turn=1, text="מתי נוח שנגיע, ולאן?")
    furnished.tell("CA95", "reply.heard", turn=1, text="מתי נוח", cut=True)
    furnished.tell("CA95", "turn.latency", turn=1, waterfall={}, response_ms=640)
    call.get_by_text("התשובה האחרונה: 0.64 שניות").wait_for()
    assert call.locator("li").all_inner_texts() == ["הפונה: המזגן מטפטף", "הסוכן: מתי נוח"]
    furnished.tell("CA95", "call.ended", outcome="completed", detail="")
    call.wait_for(state="detached")
    assert page.locator("[data-call=CA92]").is_visible()  # which is still running, and came with the page


def test_a_viewer_whose_stream_breaks_misses_nothing(furnished, monkeypatch):
    monkeypatch.setattr(asgi, "BOARD_STREAM_S", -1)  # every stream ends with its first event
    page = furnished.page(OWNER, viewport=DESKTOP)
    with page.expect_response("**/board/events"):
        page.goto("/board")
    page.wait_for_timeout(300)
    for turn in range(1, 4):
        furnished.tell("CA96", "turn.committed", turn=turn, text=f"משפט {turn}", dtmf="")
    page.locator("[data-call=CA96] li").nth(2).wait_for()
    assert page.locator("[data-call=CA96] li").all_inner_texts() == [f"הפונה: משפט {turn}" for turn in range(1, 4)]


def test_the_board_weighs_little(furnished):
    page = furnished.page(OWNER)
    sizes = {}
    page.on("response", lambda answer: sizes.__setitem__(answer.url.split("/")[-1].split("?")[0], len(answer.body())))
    page.goto("/leads/board")
    page.wait_for_load_state("networkidle")
    scripts = sum(size for name, size in sizes.items() if name.endswith(".js"))
    assert 0 < scripts < 150_000
    assert sum(sizes.values()) < 250_000


def test_a_conversation_is_followed_taken_over_and_answered(furnished):
    office = furnished.office
    page = furnished.page(OWNER, viewport=DESKTOP)
    with page.expect_response("**/board/events"):
        page.goto(f"/inbox/{furnished.talk}")
    page.wait_for_timeout(300)  # until the stream is open
    page.get_by_label("הודעה חדשה").fill("רגע, אני")
    office.writes("רגע, עוד <i>שאלה</i>")
    office.inbox_desk._changed(office.business, furnished.talk)
    page.locator("[data-live=said]").get_by_text("רגע, עוד <i>שאלה</i>").wait_for()
    assert page.get_by_label("הודעה חדשה").input_value() == "רגע, אני"  # what was begun stays
    page.get_by_role("button", name="לקחת את השיחה").click()
    page.get_by_text("התשובות כאן אצל דנה כהן").wait_for()
    page.get_by_label("הודעה חדשה").fill("כאן דנה, במה אפשר לעזור?")
    page.get_by_role("button", name="שליחה").click()
    page.locator(".chat-end").get_by_text("כאן דנה, במה אפשר לעזור?").wait_for()
    assert page.locator(".chat-end [data-state]").last.get_attribute("data-state") == "queued"
    page.get_by_role("button", name="להחזיר לסוכן").click()
    page.get_by_text("הסוכן עונה כאן").wait_for()
