"""The desk in a real browser: Debian's Chromium, driven by Playwright, on the real ASGI front over a real socket.

No browser is downloaded. CHROMIUM names another one; without any the tests are skipped, except in CI.
"""

import os
import shutil
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from argon2 import PasswordHasher
from playwright.sync_api import sync_playwright

from moked import asgi
from moked.board import BoardBus, topic
from moked.bus import MemoryBus
from moked.crm import db, passwords
from moked.crm.live_words import LiveWords
from moked.crm.redaction import Policy
from tests.serving import serving
from tests.web.desk_office import DeskOffice, chatter, furnish

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="module")  # no longer: while Playwright runs, this thread cannot run a loop of its own
def chromium():
    if not Path(CHROMIUM).exists() and not os.environ.get("CI"):
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Site:
    """A desk that is served. `complaints`: what the browser said that it should not have to say."""

    def __init__(self, office, url, browser):
        self.office, self.url, self.browser = office, url, browser
        self.complaints = []
        self.contexts = []

    def page(self, email=None, **options):
        """A page of a browser of its own, logged in as `email`."""
        context = self.browser.new_context(base_url=self.url, locale="he-IL", **options)
        self.contexts.append(context)
        context.set_default_timeout(30_000)
        if email:
            cookie = {"name": "moked_session", "value": self.office.token(email), "url": self.url}
            context.add_cookies([cookie])
        page = context.new_page()
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page


@pytest.fixture
def site(chromium, tmp_path, monkeypatch):
    """An empty desk on SQLite; at the end the browser must have had nothing to complain about."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    engine = db.connect(f"sqlite:///{tmp_path}/moked.db")
    db.migrate(engine)
    office = DeskOffice(engine, tmp_path)
    bus = MemoryBus()
    app = asgi.build(ready=dict, flask=office.app, board=bus, board_of=office.access.board_of)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(app)) as url:
        office.base = url
        found = Site(office, url, chromium)
        calls = BoardBus(bus, office.business, LiveWords(Policy()))
        office.inbox_desk._changed = lambda business, conversation: portal.call(
            bus.publish, topic(business), "inbox.changed", {"conversation": conversation}
        )
        found.tell = lambda sid, event, **data: portal.call(calls.publish, f"call:{sid}", event, data)
        yield found
        for context in found.contexts:
            context.close()
    engine.dispose()
    assert found.complaints == []


@pytest.fixture
def furnished(site):
    site.me = site.office.owner()
    site.leads = furnish(site.office)
    site.talk = chatter(site.office)
    return site
