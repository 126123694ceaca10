"""The settings: published for the next call, refused in clear words, tried out before; on both databases."""

import pytest

from moked.crm.desk import LeadFilter
from moked.crm.permissions import UserRole
from moked.dialog.ownerfile import plain
from moked.errors import Failure, ProviderError
from moked.web.desk.profile_form import shown
from tests.web.desk_office import DeskOffice
from tests.web.test_profile_form import sent

PROFILE_FIELDS = ("name", "phone", "address", "description", "greeting", "recording_notice", "transfer_number",
                  "timezone", "voice_gender", "hints")  # fmt: skip


@pytest.fixture
def desk(engine, tmp_path):
    desk = DeskOffice(engine, tmp_path)
    desk.me = desk.owner()
    desk.web = desk.browser("dana@example.com")
    return desk


def form(desk, **changed):
    """The business's form as the browser sends it, with some fields changed."""
    values = sent(shown(plain(desk.versions.current(desk.business).texts.profile, "profile")))
    days = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
    rows = [f"{name}_{column}" for name, columns in (("holidays", ("date", "until", "name", "hours")),
            ("services", ("name", "price", "note", "keywords")), ("faq", ("question", "answer", "keywords")))
            for column in columns]  # fmt: skip
    fields = {name: values(name) for name in (*PROFILE_FIELDS, *(f"hours_{day}" for day in days), *rows)}
    return {**fields, "base": "0", **changed}


def test_the_business_is_published_for_the_next_call(desk):
    page = "/settings/business"
    answer = desk.web.post(page, page=page, **form(desk, name="צינור ובניו", hours_sunday="10:00-12:00", note="שם חדש"))
    assert answer.location == "/settings/business?told=published"
    assert desk.published == [1]
    texts = desk.versions.current(desk.business).texts
    assert plain(texts.profile, "p")["hours"]["sunday"] == "10:00-12:00"
    after = desk.web.get(answer.location).text
    assert "חל מהשיחה הבאה" in after
    assert "שם חדש" in after
    assert "צינור ובניו" in desk.web.get("/board").text


@pytest.mark.parametrize(
    ("changed", "told", "field"),
    [
        ({"hours_sunday": "8 to 5"}, "אינו טווח שעות", "hours-sunday"),
        ({"phone": "12"}, "אינו מספר טלפון", "phone"),
        ({"name": ""}, "חסר", ""),
        ({"services_name": ["", "", "", "", "", ""]}, "חסר", ""),
        ({"timezone": "Asia/Atlantis"}, "אין אזור זמן", "timezone"),
    ],
)
def test_what_is_wrong_is_said_in_hebrew_and_nothing_changes(desk, changed, told, field):
    answer = desk.web.post("/settings/business", page="/settings/business", **form(desk, **changed))
    assert answer.status_code == 400
    assert told in answer.text
    assert (f'id="{field}"' in answer.text) or not field
    assert desk.versions.version(desk.business) == 0
    assert desk.published == []


def test_a_broken_script_is_never_published(desk):
    page = "/settings/script"
    answer = desk.web.post(page, page=page, base="0", text='steps:\n  - asks: need\n    say: "מה קרה"\n')
    assert answer.status_code == 400
    assert "שורה 3" in answer.text
    assert "משפט נגמר בנקודה" in answer.text
    assert "מה קרה" in answer.text  # what was typed is not lost
    assert desk.versions.version(desk.business) == 0


def test_a_long_text_fits_and_a_far_too_long_one_is_told(desk):
    text = "{facts}\n" + "א" * 19_000  # 114 KB of a form
    answer = desk.web.post("/settings/prompt", page="/settings/prompt", base="0", text=text)
    assert answer.location == "/settings/prompt?told=published"
    assert desk.versions.current(desk.business).texts.prompt == text
    longer = desk.web.post("/settings/prompt", page="/settings/prompt", base="1", text=text + "א" * 2000)
    assert longer.status_code == 400
    assert "הטקסט ארוך מדי" in longer.text
    huge = desk.web.post("/settings/prompt", page="/settings/prompt", base="1", text="א" * 200_000)
    assert huge.status_code == 413
    assert "גדול מדי" in huge.text


def test_versions_are_listed_compared_and_restored(desk):
    page = "/settings/script"
    desk.web.post(page, page=page, base="0", text='lines:\n  goodbye: "ראשון."\n', note="פרידה קצרה")
    desk.web.post(page, page=page, base="1", text='lines:\n  goodbye: "שני."\n')
    listed = desk.web.get(page).text
    assert listed.index("גרסה 2") < listed.index("גרסה 1")
    assert "פרידה קצרה" in listed
    compared = desk.web.get("/settings/script/versions/1").text
    assert "<del>  goodbye: &#34;ראשון.&#34;</del>" in compared
    assert "<ins>  goodbye: &#34;שני.&#34;</ins>" in compared
    where = "/settings/script/versions/1"
    assert desk.web.post(where, page=where, base="2").location == "/settings/script?told=published"
    assert "ראשון." in desk.versions.current(desk.business).texts.script
    assert "הוחזרה מגרסה 1" in desk.web.get(page).text
    assert "בדיוק מה שבתוקף" in desk.web.get("/settings/script/versions/3").text
    assert desk.web.get("/settings/script/versions/9").status_code == 404
    assert "פרסום גרסה של הסוכן: התסריט" in desk.web.get("/audit").text


def test_what_somebody_else_published_is_not_undone(desk):
    page = "/settings/prompt"
    desk.web.post(page, page=page, base="0", text="{facts} ראשון")
    answer = desk.web.post(page, page=page, base="0", text="{facts} שני")
    assert answer.status_code == 400
    assert "בינתיים פורסמה גרסה 1" in answer.text
    assert "{facts} שני" in answer.text


def test_a_draft_is_tried_out_in_writing_and_published(desk):
    page, text = "/settings/script", 'steps:\n  - asks: need\n    say: "ספרו לי, מה קרה?"\n  - asks: name\n'
    answer = desk.web.post("/settings/rehearsal", page=page, part="script", base="0", text=text)
    assert answer.location == "/settings/rehearsal"
    talk = desk.web.get("/settings/rehearsal").text
    assert "שלום, הגעתם לאורן אינסטלציה" in talk
    assert "ספרו לי, מה קרה?" in talk
    assert desk.versions.version(desk.business) == 0
    say = "/settings/rehearsal/say"
    desk.web.post(say, page="/settings/rehearsal", text="<b>יש לי נזילה</b> בברז במטבח")
    talk = desk.web.get("/settings/rehearsal").text
    assert "&lt;b&gt;יש לי נזילה" in talk
    assert "עם מי אני מדבר" in talk
    assert "מה היה נרשם בליד" in talk
    desk.web.post(say, page="/settings/rehearsal", text="0")  # a key: a person
    talk = desk.web.get("/settings/rehearsal").text
    assert "כאן השיחה מועברת לנציג" in talk
    assert desk.desk.leads(desk.business, LeadFilter(), "Asia/Jerusalem").total == 0
    assert "ספרו לי, מה קרה?" in desk.web.get(f"{page}?draft=1").text
    assert "ספרו לי, מה קרה?" not in desk.web.get(page).text
    published = desk.web.post("/settings/rehearsal/publish", page="/settings/rehearsal")
    assert published.location == "/settings/script?told=published"
    assert desk.versions.current(desk.business).texts.script == text
    assert desk.agent.rehearsals.find(desk.me) is None


def test_a_broken_draft_says_why(desk):
    answer = desk.web.post("/settings/rehearsal", page="/settings/script", part="script", base="0", text="steps: x: y")
    assert answer.status_code == 400
    assert "המבנה אינו תקין" in answer.text
    assert desk.web.post("/settings/rehearsal/say", page="/settings/rehearsal", text="שלום").status_code == 302


def test_a_language_model_that_is_away_changes_nothing(desk, monkeypatch):
    desk.web.post("/settings/rehearsal", page="/settings/script")
    before = desk.agent.rehearsals.find(desk.me)

    def away(*given, **more):
        raise ProviderError("llm", Failure.TIMEOUT, "away")

    monkeypatch.setattr("tests.web.desk_office.ScriptAgents", away)
    answer = desk.web.post("/settings/rehearsal/say", page="/settings/rehearsal", text="יש לי נזילה")
    assert answer.status_code == 400
    assert "מודל השפה לא ענה" in answer.text
    assert "יש לי נזילה" in answer.text  # what was typed is not lost
    assert desk.agent.rehearsals.find(desk.me) == before


def test_the_business_form_is_tried_out_too(desk):
    fields = form(desk, part="profile", greeting="שלום, כאן הבוט של אורן.")
    desk.web.post("/settings/rehearsal", page="/settings/business", **fields)
    assert "כאן הבוט של אורן" in desk.web.get("/settings/rehearsal").text


def test_a_word_is_heard_and_published(desk):
    page = "/settings/pronunciation"
    heard = desk.web.get(f"{page}/listen?said=בּוֹיְלֶר")
    assert heard.mimetype == "audio/wav"
    assert heard.data[:4] == b"RIFF"
    assert len(heard.data) == 44 + 1600
    assert desk.web.get(f"{page}/listen?said=").status_code == 404
    answer = desk.web.post(page, page=page, base="0", word=["דוד", ""], said=["דּוּד", ""])
    assert answer.location == f"{page}?told=published"
    assert plain(desk.versions.current(desk.business).texts.profile, "p")["pronunciation"] == {"דוד": "דּוּד"}


def test_hearing_is_switched_with_reasons_and_a_history(desk):
    page = "/settings/hearing"
    assert "כל השיחות נשמעות בזרימה" in desk.web.get(page).text
    desk.web.post(page, page=page, streaming="on", percent="20", why="בודקים")
    now = desk.web.get(page).text
    assert "20% מהשיחות" in now
    assert "בודקים" in now
    assert "דנה כהן" in now
    desk.web.post(page, page=page, streaming="on", number="050-234-5678")
    assert desk.rollouts.load().policy.numbers[0].number == "+972502345678"
    desk.web.post(f"{page}/number", page=page, number="+972502345678")
    assert desk.rollouts.load().policy.numbers == ()
    for wrong, told in (({"percent": "120"}, "אחוז שלם"), ({"number": "שלום"}, "מספר טלפון")):
        refused = desk.web.post(page, page=page, streaming="on", **wrong)
        assert refused.status_code == 400
        assert told in refused.text
    desk.web.post(page, page=page, rollback="true", why="איטי")
    assert "הזרימה כובתה" in desk.web.get(page).text
    assert desk.rollouts.load().policy.share.streaming_percent == 0


def test_another_business_does_not_switch_ours(desk):
    other = desk.crm.ensure_business("השכן", key="other")
    desk.owner("moti@example.com", other, "מוטי")
    web = desk.browser("moti@example.com")
    assert web.get("/settings/hearing").status_code == 404
    assert web.get("/settings/script").status_code == 200
    web.post("/settings/script", page="/settings/script", base="0", text='lines:\n  goodbye: "של השכן."\n')
    assert desk.versions.version(desk.business) == 0


def test_the_numbers_that_rang(desk):
    desk.call("CA1", "+972502345678")
    page = desk.web.get("/settings/numbers").text
    assert "03-555-1234" in page
    assert "http://localhost/webhook/incoming_call" in page


def test_who_only_looks_has_no_settings(desk):
    web = desk.browser(desk.person(UserRole.AGENT, desk.me))
    assert "/settings" not in web.get("/board").text
    assert web.get("/settings/business").status_code == 403
