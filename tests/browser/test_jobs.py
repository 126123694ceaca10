"""Work after calls in Chromium: a dead letter is seen, understood and tried again."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from moked.crm.outbox import call_key
from tests.browser.test_desk import DESKTOP, OWNER, PHONE, SHOTS
from tests.web.test_desk_jobs import run

pytestmark = pytest.mark.browser


@pytest.fixture
def troubled(furnished):
    run(furnished.office, "CA0", {"notice": "auth"})
    run(furnished.office, "CA1", {"announce": "unavailable"})
    run(furnished.office, "CA2", {})
    return furnished


def test_a_dead_letter_is_tried_again(troubled):
    page = troubled.page(OWNER, viewport=DESKTOP)
    page.goto("/board")
    page.get_by_text("דנה כהן").click()
    page.get_by_role("link", name="עבודות").click()
    page.wait_for_url("**/jobs")
    assert page.get_by_text("יש לבדוק שם משתמש וסיסמה").is_visible()
    page.get_by_role("button", name="ניסיון חוזר").click()
    page.wait_for_url("**/jobs?show=open&told=retried")
    assert page.get_by_role("status").first.inner_text() == "העבודה תתבצע שוב מיד."
    assert call_key("CA0") in [order.key for order in troubled.office.jobs.due()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_has_no_barriers_and_nothing_hangs_over(troubled, size, scheme):
    page = troubled.page(OWNER, viewport=size, color_scheme=scheme)
    for show in ("failed", "open", "done"):
        page.goto(f"/jobs?show={show}")
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        if SHOTS:
            page.screenshot(path=f"{SHOTS}/jobs_{show}_{size['width']}_{scheme}.png", full_page=True)
