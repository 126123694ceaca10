"""A recording is heard by ranges, by who may, and that is on record."""

from datetime import timedelta

import pytest

from moked.crm.edits import LISTENED
from moked.crm.permissions import UserRole
from tests.web.desk_office import DeskOffice, Recording, furnish

WAV = "/calls/CA0/recording.wav"


@pytest.fixture
def desk(engine, tmp_path):
    desk = DeskOffice(engine, tmp_path)
    desk.me = desk.owner()
    furnish(desk)
    desk.web = desk.browser("dana@example.com")
    desk.recording = desk.recordings.kept[desk.business, "CA0"] = Recording(4000)
    return desk


def listened(desk):
    rows, _ = desk.access.audit_log(desk.business, 1)
    return [row.target for row in rows if row.action == LISTENED]


def test_the_whole_of_it_and_parts(desk):
    whole = desk.web.get(WAV)
    assert (whole.status_code, whole.mimetype, whole.data) == (200, "audio/wav", desk.recording.data)
    assert whole.headers["Accept-Ranges"] == "bytes"
    size = desk.recording.size
    for asked, start, end in (("bytes=0-", 0, size), ("bytes=100-199", 100, 200), ("bytes=-50", size - 50, size),
                              ("bytes=1000-99999999", 1000, size)):  # fmt: skip
        part = desk.web.get(WAV, headers={"Range": asked})
        assert part.status_code == 206
        assert part.data == desk.recording.data[start:end]
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
        assert part.headers["Content-Length"] == str(end - start)
    beyond = desk.web.get(WAV, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")


def test_the_page_has_the_player_and_says_where_there_is_nothing_to_hear(desk):
    page = desk.web.get("/calls/CA0")
    assert 'id="player"' in page.text
    assert 'data-at="3000"' in page.text
    nonce = page.text.split('data-nonce="')[1].split('"')[0]
    assert f"'nonce-{nonce}'" in page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    without = desk.web.get("/calls/CA1")
    assert "אין הקלטה של השיחה הזאת" in without.text
    assert "nonce" not in without.headers["Content-Security-Policy"]
    peaks = desk.web.get("/calls/CA0/peaks.json").json
    assert peaks["duration_ms"] == 4000
    assert [len(side) for side in peaks["peaks"]] == [200, 200]
    assert peaks["peaks"][0][0] > 0.3 > peaks["peaks"][1][0]


def test_listening_is_on_record_once_a_while(desk):
    assert listened(desk) == []
    for _ in range(3):
        desk.web.get(WAV, headers={"Range": "bytes=5000-"})  # from the middle: a listening all the same
    assert listened(desk) == ["call:CA0"]
    desk.now += timedelta(minutes=11)
    desk.web.get(WAV)
    assert listened(desk) == ["call:CA0"] * 2
    log = desk.web.get("/audit").text
    assert "האזנה להקלטה" in log
    assert 'href="/calls/CA0"' in log


def test_who_may_not_listen_does_not(desk):
    web = desk.browser(desk.person(UserRole.AGENT, desk.me))
    assert web.get(WAV).status_code == 403
    assert web.get("/calls/CA0/peaks.json").status_code == 403
    page = web.get("/calls/CA0").text
    assert 'id="player"' not in page
    assert "אין הקלטה" not in page
    assert listened(desk) == []


def test_the_neighbour_s_recording_is_not_there(desk):
    other = desk.crm.ensure_business("השכן", key="other")
    desk.owner("moti@example.com", other, "מוטי")
    assert desk.browser("moti@example.com").get(WAV).status_code == 404
    assert desk.web.get("/calls/CA7/recording.wav").status_code == 404
