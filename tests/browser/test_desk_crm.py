"""Leads by finger and with a reason, and files, in Chromium."""

import os
from pathlib import Path

import pytest

from tests.browser.test_desk import DESKTOP, GRIP, OWNER, PHONE

pytestmark = pytest.mark.browser
WIDE = {"width": 2000, "height": 860}  # all stages are seen
SHOTS = os.environ.get("MOKED_SCREENSHOTS", "")


def shot(page, name):
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_a_finger_drags_a_card_by_its_grip(furnished):
    page = furnished.page(OWNER, viewport=PHONE, has_touch=True)
    page.goto("/leads/board")
    lead = furnished.leads[0]
    grip = page.locator(f"[data-lead='{lead}'] [data-grip]")
    grip.scroll_into_view_if_needed()
    start, column = grip.bounding_box(), page.locator("[data-stage=in_progress]").bounding_box()
    at = {"x": start["x"] + 5, "y": start["y"] + 5}
    to = {"x": column["x"] + column["width"] - 20, "y": at["y"] + 30}  # what can be seen of the next column
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    for part in (0.3, 0.7, 1.0):
        point = {name: at[name] + part * (to[name] - at[name]) for name in at}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    assert page.locator(".ghost").count() == 1
    shot(page, "finger-phone")
    with page.expect_response(f"**/leads/{lead}/move") as answer:
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert answer.value.status == 200
    assert page.locator(".ghost").count() == 0
    assert page.locator(f"[data-stage=in_progress] [data-lead='{lead}']").count() == 1


def test_a_lead_that_is_dragged_to_lost_says_why_or_stays(furnished):
    page = furnished.page(OWNER, viewport=WIDE)
    page.goto("/leads/board")
    page.evaluate("document.querySelector('main').style.maxWidth = 'none'")
    lead = furnished.leads[0]
    card, lost = page.locator(f"[data-lead='{lead}']"), page.locator("[data-stage=lost]")
    card.drag_to(lost, source_position=GRIP, target_position=GRIP)
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    shot(page, "lost-desktop")
    page.keyboard.press("Escape")
    assert page.locator(f"[data-stage=new] [data-lead='{lead}']").count() == 1
    card.drag_to(lost, source_position=GRIP, target_position=GRIP)
    with page.expect_response(f"**/leads/{lead}/move") as answer:
        dialog.get_by_role("button", name="המחיר").click()
    assert answer.value.status == 200
    page.goto(f"/leads/{lead}")
    assert page.get_by_text("סיבת האובדן: המחיר").is_visible()


def test_a_file_comes_in_and_goes_out(furnished, tmp_path):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto("/contacts/import")
    file = tmp_path / "אנשים.csv"
    file.write_bytes(b"x" * (10 * 1024 * 1024 + 1))
    page.get_by_label("קובץ CSV").set_input_files(file)
    page.get_by_role("alert").get_by_text("גדול מ־10").wait_for()  # before it is sent
    file.write_text("שם,טלפון,הצורך,שווי\nדנה ארז,050-7654321,מזגן חדש,1200\nאבי,12,,\n", "windows-1255")
    page.get_by_label("קובץ CSV").set_input_files(file)
    page.get_by_role("button", name="המשך לבדיקה").click()
    page.get_by_role("button", name="בדיקה בלי שמירה").click()
    page.get_by_text("מספר הטלפון אינו תקין").wait_for()
    shot(page, "import-desktop")
    page.get_by_label("לדלג על השורות השגויות").check()
    page.get_by_role("button", name="קליטת הקובץ").click()
    page.get_by_text("נוספו 1 אנשי קשר").wait_for()
    page.goto("/leads?q=ארז")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="יצוא לאקסל").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="קובץ אקסל").first.click()
    assert download.value.suggested_filename == "leads-2026-11-22.xlsx"


def test_a_large_file_gets_an_answer_without_scripts_too(furnished, tmp_path):
    page = furnished.page(OWNER, viewport=PHONE, java_script_enabled=False)
    page.goto("/contacts/import")
    file = tmp_path / "large.csv"
    file.write_bytes(b"x" * 50_000_000)
    page.get_by_label("קובץ CSV").set_input_files(file)
    page.get_by_role("button", name="המשך לבדיקה").click(timeout=30_000)
    page.get_by_text("הקובץ גדול מ־10").wait_for()
    furnished.complaints[:] = [one for one in furnished.complaints if "413" not in one]


def test_when_is_asked_exactly_only_where_nothing_else_fits(furnished):
    page = furnished.page(OWNER, viewport=DESKTOP)
    page.goto(f"/leads/{furnished.leads[0]}")
    page.get_by_text("משימה חדשה").click()
    shot(page, "task-desktop")
    exact = page.get_by_label("מועד מדויק")
    assert not exact.is_visible()
    page.locator("[name=soon]").select_option("")
    assert exact.is_visible()
    reason = page.locator(".lost-only")
    assert not reason.is_visible()
    page.get_by_label("העברה לשלב").select_option("lost")
    assert reason.is_visible()
