"""The pages of keys and webhooks, the API's documentation, and the second factor's picture, in Chromium."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from moked.crm.delivering import Result
from moked.crm.permissions import Permission

pytestmark = pytest.mark.browser

SHOTS = os.environ.get("MOKED_SCREENSHOTS", "")
OWNER = "dana@example.com"
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
LOOKS = [("desktop", "light"), ("phone", "dark"), *([("desktop", "dark"), ("phone", "light")] if SHOTS else [])]


@pytest.fixture
def connected(furnished):
    office, me = furnished.office, furnished.me
    office.keys.make(me, "סנכרון לגיליון אלקטרוני", {Permission.VIEW}, 30)
    office.keys.make(me, "CRM", {Permission.VIEW, Permission.EDIT, Permission.ASSIGN}, None)
    office.keys.revoke(me, office.keys.all(office.business)[1][0].id)
    good = office.hooks.add(me, "https://crm.example.com/hooks/moked", "ה־CRM שלנו", ["lead.created", "call.ended"])
    bad = office.hooks.add(
        me, "https://old.example.com/a/rather/long/path/that/does/not/fit?x=1", "ישן", ["task.created"]
    )
    for hook, result in (
        (good, Result(200, response='{"ok": true}', took_ms=84)),
        (good, Result(503, response="<h1>Service Unavailable</h1>", took_ms=1210)),
        (bad, Result(410, took_ms=60)),
    ):
        office.hooks.ping(me, hook.id)
        for claimed in office.sending.claim(office.now):
            office.sending.settle(claimed, result, office.now + timedelta(seconds=1), 0)
    furnished.paths = {
        "keys": "/keys", "webhooks": "/webhooks", "webhook": f"/webhooks/{good.id}",
        "webhook-gone": f"/webhooks/{bad.id}",
        "account": "/account", "api-docs": "/api/v1/docs", "board-notice": "/board",
    }  # fmt: skip
    return furnished


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_axe_finds_no_serious_fault_and_nothing_overflows(connected, size, theme):
    page = connected.page(OWNER, viewport=DESKTOP if size == "desktop" else PHONE, color_scheme=theme)
    for name, path in connected.paths.items():
        page.goto(path)
        if name in ("webhook", "api-docs"):
            page.locator("details").nth(1 if name == "webhook" else 3).locator("summary").first.click()
        if SHOTS:
            page.screenshot(path=Path(SHOTS) / f"{name}-{size}-{theme}.png", full_page=name != "api-docs")
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], name
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0, name


def test_a_key_is_made_and_shown_once(connected):
    page = connected.page(OWNER, viewport=DESKTOP)
    page.goto("/keys")
    page.get_by_label("למה הוא משמש").fill("סקריפט")
    page.get_by_role("button", name="יצירת מפתח").click()
    token = page.locator("#key").inner_text()
    assert token.startswith("mk_")
    answer = page.request.get("/api/v1/leads", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 200
    page.goto("/keys")
    assert token not in page.content()


def test_the_picture_of_the_second_factor_is_shown(connected):
    page = connected.page(OWNER, viewport=DESKTOP)
    page.goto("/account")
    picture = page.get_by_alt_text("קוד QR של המפתח")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
