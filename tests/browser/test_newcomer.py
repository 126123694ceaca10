"""Somebody who has just installed Moked: `moked up`, the printed link, an account, and a call by the microphone.

A real process on an empty folder, the embedded recogniser, SQLite, real sockets, and a real Chromium whose microphone
plays a Hebrew sentence (our own voice has said it once; it is in `speech/`). Only the agent's voice is emulated: the
embedded one would render its phrases for minutes, on the cores that the recogniser needs.
"""

import base64
import os
import re
import signal
import subprocess
import sys
import time
import wave
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import sync_playwright

from emulators.google_tts import GoogleTts
from moked import audio
from moked.settings import Settings
from tests.browser.conftest import CHROMIUM
from tests.web.desk_office import PASSWORD
from tests.wire.processes import free_port

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

SPEECH = Path(__file__).parent / "speech" / "boiler.ulaw.txt"  # base64: "שלום, אני מחפש מישהו שיתקן לי את הדוד"
QUIET_S, PAUSE_S = 6, 3  # while the greeting is heard; while the answer is
START_S, ANSWER_S = 150, 60  # on a machine that does much else
NUMBER = "050-234-5678"
OWNER = "dana@example.com"


@contextmanager
def moked_up(folder, voice):
    """`moked up` with no settings to speak of; gives the one-time link that it prints, once it does."""
    port, out = free_port(), folder / "stdout"
    own = {name.upper() for name in Settings.model_fields}
    env = {name: value for name, value in os.environ.items() if name.upper() not in own}
    env["ADMIT_LAG_MS"] = "60000"  # how busy this machine is decides nothing
    env |= {"TEXTTOSPEECH_EMULATOR_HOST": voice, "TTS_RATE": "2.0"}
    command = [str(Path(sys.executable).with_name("moked")), "up", "--port", str(port)]
    with out.open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=stdout, stderr=stderr)
    try:
        link, until = None, time.monotonic() + START_S
        while link is None:
            assert process.poll() is None, (folder / "stderr").read_text("utf-8")
            assert time.monotonic() < until, out.read_text("utf-8")
            link = re.search(r"http://\S+/setup\?token=\S+", out.read_text("utf-8"))
            time.sleep(0.05)
        yield link[0]
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def microphone(folder):
    """What the microphone hears, again and again: nothing, the sentence, nothing. A recogniser that is too busy for
    interim words in one round has them in another."""
    path = folder / "microphone.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, audio.SAMPLE_RATE, 0, "NONE", ""))
        heard = (
            audio.silence(QUIET_S * 1000) + base64.b64decode(SPEECH.read_text("ascii")) + audio.silence(PAUSE_S * 1000)
        )
        out.writeframes(audio.to_pcm16(heard))
    return path


@contextmanager
def chromium(heard):
    """With a microphone that plays `heard`. The whole browser: its small headless sibling has no microphone."""
    if not Path(CHROMIUM).exists() and not os.environ.get("CI"):
        pytest.skip(f"no Chromium at {CHROMIUM}")
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


def played(page):
    """Samples that left the loudspeaker."""
    return int(page.locator("#phone").get_attribute("data-played") or 0)


def until(true):
    """Pages have no `eval`, which Playwright's own waiting for a function needs."""
    end = time.monotonic() + ANSWER_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def voice():
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(GoogleTts().serving()) as address:
        yield address


def test_a_newcomer_talks_to_the_agent_and_finds_the_lead(tmp_path, voice):
    with moked_up(tmp_path, voice) as link, chromium(microphone(tmp_path)) as browser:
        page = browser.new_context(locale="he-IL", permissions=["microphone"]).new_page()
        page.set_default_timeout(ANSWER_S * 1000)
        complaints = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))

        page.goto(link)
        page.get_by_label("שם מלא").fill("דנה כהן")
        page.get_by_label("דואר אלקטרוני").fill(OWNER)
        page.get_by_label("סיסמה", exact=False).first.fill(PASSWORD)
        page.get_by_label("הסיסמה שוב").fill(PASSWORD)
        page.get_by_role("button", name="פתיחת החשבון").click()
        page.get_by_label("דואר אלקטרוני").fill(OWNER)
        page.get_by_label("סיסמה").fill(PASSWORD)
        page.get_by_role("button", name="כניסה").click()
        page.wait_for_url("**/phone")  # where a newcomer should go first

        page.get_by_label("המספר שממנו מתקשרים").fill(NUMBER)
        page.get_by_role("button", name="שיחה לסוכן").click()
        phone = page.locator("#phone[data-state=talking]")
        phone.wait_for()
        until(lambda: played(page) > 8000)  # a second of the greeting is out of the loudspeaker
        assert float(phone.get_attribute("data-loudest")) > 0.05

        until(lambda: int(page.locator("[data-partial]").get_attribute("data-seen") or 0) > 0)
        turn = page.locator("[data-lines] li").filter(has_text="הדוד").first
        turn.locator("[data-caller]").wait_for()
        before = played(page)
        turn.locator("[data-agent]").wait_for()
        until(lambda: played(page) > before + 8000)
        turn.locator("svg.waterfall rect.moment-transcript").wait_for(state="attached")
        assert "תשובה אחרי" in turn.locator("[data-took]").inner_text()

        page.get_by_role("button", name="ניתוק").click()
        page.get_by_role("link", name="ללוח").click()
        page.wait_for_url("**/board")
        page.locator("#live-panel").get_by_text(NUMBER).first.wait_for()
        page.goto(page.url.replace("/board", "/leads"))
        page.locator("tbody").get_by_text(NUMBER).wait_for()
        page.goto(page.url.replace("/leads", "/calls"))
        assert page.locator("tbody").get_by_text("מהדפדפן").is_visible()
        assert complaints == []
