"""Settings, figures and the call's player in a real browser."""

from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from moked.dialog.published import Part
from tests.browser.test_desk import DESKTOP, LOOKS, OWNER, PHONE, SHOTS
from tests.web.desk_office import Recording

pytestmark = pytest.mark.browser

PAGES = {
    "settings-business": "/settings/business", "settings-script": "/settings/script",
    "settings-prompt": "/settings/prompt", "settings-version": "/settings/script/versions/1",
    "settings-pronunciation": "/settings/pronunciation", "settings-numbers": "/settings/numbers",
    "settings-hearing": "/settings/hearing", "settings-rehearsal": "/settings/rehearsal",
    "analytics": "/analytics", "call-recorded": "/calls/CA0",
}  # fmt: skip
SCRIPT = 'lines:\n  goodbye: "{}"\n'


@pytest.fixture
def lived_in(furnished):
    """With a recording, versions, a rehearsal, a switch of hearing, and calls on other days."""
    office = furnished.office
    office.recordings.kept[office.business, "CA0"] = Recording(12_000)
    office.versions.publish(furnished.me, Part.SCRIPT, SCRIPT.format("להתראות."), base=0, note="פרידה קצרה יותר")
    office.versions.publish(furnished.me, Part.SCRIPT, SCRIPT.format("יום טוב, ולהתראות."), base=1)
    office.rollouts.change(
        lambda policy: policy.with_share(True, 20, by="דנה כהן", reason="בודקים לאט", now=office.rollouts.now()),
        by="דנה כהן", what="streaming on for 20 % of the calls", why="בודקים לאט",
    )  # fmt: skip
    for number in range(12):
        office.call(f"OLD{number}", f"+9725011122{number:02}", ago=timedelta(days=number % 6, hours=number))
    return furnished


def rehearse(page):
    page.goto("/settings/script")
    page.get_by_role("button", name="ניסוי לפני פרסום").click()
    page.wait_for_url("**/settings/rehearsal")
    box = page.get_by_role("textbox", name="מה אומרים הפונים")
    box.fill("יש לי נזילה בברז במטבח")
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_a_draft_is_tried_out_and_published_from_the_page(lived_in):
    page = lived_in.page(OWNER, viewport=DESKTOP)
    rehearse(page)
    assert page.locator(".chat-end").count() == 2
    assert page.get_by_text("יש לי נזילה בברז במטבח").first.is_visible()
    page.get_by_role("button", name="פרסום הטיוטה").click()
    page.wait_for_url("**/settings/script**")


def test_a_mistake_in_the_script_is_selected(lived_in):
    page = lived_in.page(OWNER, viewport=DESKTOP)
    page.goto("/settings/script")
    area = page.locator("textarea")
    area.fill('steps:\n  - asks: need\n    say: "מה קרה"\n')
    page.get_by_role("button", name="פרסום", exact=True).click()
    page.get_by_role("alert").get_by_text("שורה 3").wait_for()
    chosen = area.evaluate("node => node.value.slice(node.selectionStart, node.selectionEnd)")
    assert chosen == '    say: "מה קרה"'
    lived_in.complaints[:] = [one for one in lived_in.complaints if "400" not in one]


def test_a_word_is_listened_to(lived_in):
    page = lived_in.page(OWNER, viewport=DESKTOP)
    page.goto("/settings/pronunciation")
    pair = page.locator("[data-pair]").first
    pair.get_by_label("איך היא נאמרת").fill("בּוֹי לֶר")
    with page.expect_response("**/settings/pronunciation/listen**") as answer:
        pair.get_by_text("השמעה").click()
    assert answer.value.status in (200, 206)
    assert page.url.endswith("/settings/pronunciation")


def test_the_recording_follows_the_transcript_and_the_transcript_the_recording(lived_in):
    page = lived_in.page(OWNER, viewport=DESKTOP)
    page.goto("/calls/CA0")
    page.locator("#player[data-drawn]").wait_for()
    audio = page.locator("#player audio")
    drawn = "node => node.firstElementChild.shadowRoot.querySelectorAll('canvas').length"
    assert page.locator("#player .wave").evaluate(drawn) >= 2
    page.wait_for_function("document.querySelector('#player audio').readyState > 0")
    assert audio.evaluate("node => node.duration") == pytest.approx(12, abs=0.05)
    line = page.locator("[data-at='9000']")
    line.get_by_role("button").click()
    page.wait_for_function("document.querySelector('#player audio').currentTime >= 9")
    page.locator("[data-at='9000'].now").wait_for()
    assert line.get_attribute("aria-current") == "true"
    audio.evaluate("node => { node.pause(); node.currentTime = 3.5 }")
    page.locator("[data-at='3000'].now").wait_for()
    assert page.locator(".now").count() == 1


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_axe_finds_no_serious_fault_and_nothing_overflows(lived_in, size, theme):
    page = lived_in.page(
        OWNER, viewport=DESKTOP if size == "desktop" else PHONE, bypass_csp=True, color_scheme=theme
    )  # fmt: skip
    rehearse(page)
    faults = []
    for name, path in PAGES.items():
        page.goto(path)
        if name == "call-recorded":
            page.locator("#player[data-drawn]").wait_for()
        page.locator("main details").evaluate_all("all => all.forEach(one => { one.open = true })")
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{name}-{size}-{theme}.png", full_page=True)
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            faults.append((name, "wider than the window", ""))
        if size == "phone":  # the same elements, in another place
            continue
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        faults += [(name, one["id"], one["nodes"][0]["html"][:160]) for one in serious]
    assert faults == []
