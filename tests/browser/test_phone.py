"""What of the browser's phone needs no call: its sound against Python's own, and what it says when it cannot call."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from moked import audio
from moked.records import Outcome

pytestmark = pytest.mark.browser

OWNER = "dana@example.com"
SHOTS = os.environ.get("MOKED_SCREENSHOTS", "")
RUN = """async ([name, from, to, samples]) => {
  const telephone = await import("/static/telephone.js");
  if (name === "encode") return [...telephone.encode(samples)];
  if (name === "decode") return [...telephone.decode(Uint8Array.from(samples))];
  const resampler = new telephone.Resampler(from, to), out = [];
  for (let at = 0; at < samples.length; at += 128)
    out.push(...resampler.process(Float32Array.from(samples.slice(at, at + 128))));
  return out;
}"""


@pytest.fixture
def run(furnished):
    page = furnished.page(OWNER)
    page.goto("/account")
    return lambda name, samples, *rates: np.array(page.evaluate(RUN, [name, *(rates or (0, 0)), list(samples)]))


def mu_law_is_what_the_server_speaks(run):
    codes = bytes(range(256))
    assert np.allclose(run("decode", codes), audio.to_float(codes))
    samples = np.linspace(-1, 1, 4001, dtype=np.float32)
    there = run("encode", [float(one) for one in samples]).astype(np.uint8)
    here = np.frombuffer(audio.from_float(samples), dtype=np.uint8)
    assert np.mean(there == here) > 0.99  # a sample on the edge of a step may fall either way
    assert np.max(np.abs((there & 0x7F).astype(int) - (here & 0x7F))) <= 1
    back = run("encode", [float(one) for one in audio.to_float(codes)])
    assert [int(code) for code in back if code != 0xFF] == [code for code in codes if code not in (0x7F, 0xFF)]


def level_db(samples, hz, rate):
    """Of one tone, against full scale; the ends, where filters start, are left out."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    turn = np.exp(-2j * math.pi * hz * np.arange(len(middle)) / rate)
    return 20 * math.log10(2 * abs(np.mean(np.hanning(len(middle)) * 2 * middle * turn)) + 1e-9)


def tone(hz, rate, seconds=0.4):
    return [float(one) for one in np.sin(2 * math.pi * hz * np.arange(int(rate * seconds)) / rate)]


def the_microphone_keeps_speech_and_folds_nothing_back(run):
    for rate in (48_000, 44_100, 16_000):
        for hz in (300, 1000, 3000):
            heard = run("resample", tone(hz, rate), rate, 8000)
            assert len(heard) == pytest.approx(3200, abs=1)
            assert level_db(heard, hz, 8000) == pytest.approx(0, abs=0.5)
        for hz in (5000, 7000):
            folded = run("resample", tone(hz, rate), rate, 8000)
            assert level_db(folded, 8000 - hz, 8000) < -45


def the_loudspeaker_has_no_second_voice_above_the_first(run):
    for rate in (48_000, 44_100):
        heard = run("resample", tone(1000, 8000), 8000, rate)
        assert level_db(heard, 1000, rate) == pytest.approx(0, abs=0.5)
        assert level_db(heard, 7000, rate) < -45


def test_the_sound_of_a_page_is_a_telephones(run):  # in one page: opening it takes the time
    mu_law_is_what_the_server_speaks(run)
    the_microphone_keeps_speech_and_folds_nothing_back(run)
    the_loudspeaker_has_no_second_voice_above_the_first(run)


FAILS = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '{}'));"


WHY = {
    FAILS.format("NotAllowedError"): "לא נתן רשות",
    FAILS.format("NotFoundError"): "לא נמצא מיקרופון",
    FAILS.format("NotReadableError"): "תפוס",
    "Object.defineProperty(window, 'isSecureContext', { value: false });": "https",
}


def test_who_has_no_microphone_is_told_why(furnished):
    page = furnished.page(OWNER)
    for script, told in WHY.items():
        page.add_init_script(script)  # the last one that says something holds
        page.goto("/phone")
        page.get_by_role("button", name="שיחה לסוכן").click()
        page.locator("[data-told]").filter(has_text=told).wait_for()
        assert page.get_by_role("button", name="שיחה לסוכן").is_visible()


def test_who_finds_no_place_is_told_so(furnished):
    page = furnished.page(OWNER)
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => new AudioContext().createMediaStreamDestination().stream;"
    )
    page.goto("/phone")
    page.get_by_role("button", name="שיחה לסוכן").click()
    page.locator("[data-told]").filter(has_text="אין כרגע שרת שמקבל שיחות").wait_for()
    furnished.complaints[:] = [one for one in furnished.complaints if "409" not in one]


def test_the_wallboard_follows_the_calls(furnished):
    page = furnished.page(OWNER)
    with page.expect_response("**/board/figures"):
        page.goto("/wall")
    leads = page.locator("[data-figure=leads]")
    assert leads.inner_text() == "5"
    page.locator("[data-update]").filter(has_text="עודכן").wait_for()
    furnished.office.call("CA200", "+972501231234", outcome=Outcome.BROKEN)
    with page.expect_response("**/board/figures"):
        furnished.tell("CA200", "call.ended", outcome="broken", detail="")
    page.locator("[data-figure=leads]").get_by_text("6", exact=True).wait_for()


def test_who_has_the_floor_is_told_on_every_board(furnished):
    page = furnished.page(OWNER)
    with page.expect_response("**/board/events"):
        page.goto("/board")
    page.wait_for_timeout(300)  # until the stream is open
    furnished.tell("CA92", "call.supervised", act="taken_over", who="נועם <b>")
    page.locator("[data-call=CA92]").get_by_text("נועם <b> בשיחה במקום הסוכן.").wait_for()
    furnished.tell("CA92", "call.supervised", act="handed_back", who="נועם <b>")
    page.locator("[data-call=CA92]").get_by_text("במקום הסוכן").wait_for(state="hidden")


def test_what_is_only_shown_during_a_call_is_good_too(furnished):
    for size in ({"width": 1280, "height": 860}, {"width": 390, "height": 844}):
        for theme in ("light", "dark"):
            page = furnished.page(OWNER, viewport=size, bypass_csp=True, color_scheme=theme)
            for path in ("/phone", "/board"):
                page.goto(path)
                page.evaluate(
                    "for (const each of document.querySelectorAll('[data-when], [data-while]'))"
                    " each.classList.remove('hidden');"
                    "for (const each of document.querySelectorAll('details')) each.open = !each.closest('header');"
                    "for (const each of document.querySelectorAll('[data-told]'))"
                    " { each.textContent = 'הפונה שומע אותך עכשיו.'; each.dataset.kind = 'live'; }"
                )
                if SHOTS:
                    name = f"shown-{path[1:]}-{size['width']}-{theme}.png"
                    page.screenshot(path=Path(SHOTS) / name, full_page=True)
                found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
                assert [(one["id"], one["nodes"][0]["html"][:160]) for one in found
                        if one["impact"] in ("serious", "critical")] == []  # fmt: skip
                assert not page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
