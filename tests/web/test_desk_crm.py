"""Working with leads and contacts over the real app: search, filters, fields, merging, tasks, files in and out."""

import csv
import io
import re
import zipfile
from datetime import timedelta

import openpyxl
import pytest

from moked.crm import csv_files, exporting
from moked.crm.leads import Stage
from moked.crm.permissions import UserRole
from tests.web.desk_office import DeskOffice, draft, furnish

FILE = (
    "שם,טלפון,הצורך,שווי,תגיות,הערות\n"
    "דנה ארז,050-7654321,מזגן חדש,1200,חם,לחזור בערב\n"
    "דוד לוי,0502345678,,,,\n"
    "דנה ארז,050-765-4321,,,,\n"
)
COLUMNS = ["name", "phone", "need", "value", "tags", "note"]


@pytest.fixture
def desk(engine, tmp_path):
    found = DeskOffice(engine, tmp_path)
    found.me = found.owner()
    found.web = found.browser("dana@example.com")
    return found


@pytest.fixture
def furnished(desk):
    desk.leads = furnish(desk)
    desk.contact = desk.desk.lead(desk.business, desk.leads[0]).contact.id
    return desk


def alert(answer):
    return " ".join(re.findall(r'role="alert">([^<]*)', answer.text))


def names(desk, query):
    return re.findall(r'<th scope="row"><a[^>]*><bdi>([^<]+)</bdi>', desk.web.get(f"/leads?{query}").text)


def lead_of(desk, number=0):
    return desk.desk.lead(desk.business, desk.leads[number]).lead


# ---- search


def test_one_search_finds_leads_contacts_and_calls(furnished):
    page = furnished.web.get("/search?q=רוּתי").text
    assert page.count("<mark>רותי</mark>") >= 4  # lead, contact, call, and what was said
    assert "/calls/CA0#turn-1" in page
    script = furnished.web.get("/search?q=מחר אחרי ארבע").text
    assert "&lt;b&gt;<mark>מחר</mark>&lt;/b&gt;" in script  # a caller's words are never markup
    assert "<b>מחר" not in script
    assert "לא נמצא דבר" in furnished.web.get("/search?q=איןכזה").text


# ---- leads


def test_value_tags_and_filters(furnished):
    web, lead = furnished.web, furnished.leads[0]
    assert web.post(f"/leads/{lead}/value", value="12,500 ₪").status_code == 302
    assert web.post(f"/leads/{lead}/tags", tags="חם, VIP , חם").status_code == 302
    assert names(furnished, "least=12500&most=13000") == ["רותי לוי"]
    assert names(furnished, "least=13000") == []
    tag = furnished.desk.tags(furnished.business)[0]
    assert names(furnished, f"tag={tag.id}") == ["רותי לוי"]
    assert names(furnished, "origin=broken&since=x&least=x") == []  # its caller has no name
    assert "050-999-8877" in web.get("/leads?origin=broken").text
    assert "VIP" in web.get("/leads/board").text
    assert "12,500" in web.get("/leads").text
    for field, value in (("value", "הרבה"), ("value", "-5"), ("tags", "חם\u202e")):
        assert web.post(f"/leads/{lead}/{field}", **{field: value}).status_code == 400
    assert lead_of(furnished).value == 12500
    web.post(f"/leads/{lead}/tags", tags="חם")
    assert [one.name for one in furnished.desk.tags(furnished.business)] == ["חם"]  # one that nobody has goes


def test_a_lost_lead_says_why(furnished):
    web, lead = furnished.web, furnished.leads[0]
    asked = web.post(f"/leads/{lead}/move", stage="lost", next="/leads/board")
    assert asked.status_code == 422
    assert "למה הליד אבד" in asked.text
    assert web.post(f"/leads/{lead}/move", stage="lost", reason="סתם").status_code == 422
    assert lead_of(furnished).stage is Stage.NEW
    assert web.post(f"/leads/{lead}/move", stage="lost", reason="המחיר", next="/leads/board").location == "/leads/board"
    assert (lead_of(furnished).stage, lead_of(furnished).lost_reason) == (Stage.LOST, "המחיר")
    assert "המחיר" in web.get(f"/contacts/{furnished.contact}").text  # on the timeline
    web.post(f"/leads/{lead}/move", stage="in_progress")
    assert lead_of(furnished).lost_reason == ""
    assert web.post("/leads/setup/reasons", reasons="יקר\nרחוק\n").status_code == 302
    assert web.post(f"/leads/{lead}/move", stage="lost", reason="המחיר").status_code == 422
    assert web.post(f"/leads/{lead}/move", stage="lost", reason="רחוק").status_code == 302
    assert web.post("/leads/setup/reasons", reasons=" \n").status_code == 400


def test_a_field_of_the_business(furnished):
    web, lead = furnished.web, furnished.leads[0]
    add = "/leads/setup/fields"
    assert web.post(add, name="עיר", kind="choice", choices="חיפה\nעכו").status_code == 302
    assert web.post(add, name="תקציב", kind="number").status_code == 302
    for bad in ({"name": "עיר", "kind": "text"}, {"name": "", "kind": "text"}, {"name": "x", "kind": "choice"},
                {"name": "a.b", "kind": "text"}, {"name": "y", "kind": "nonsense"}):  # fmt: skip
        assert web.post(add, **bad).status_code == 400, bad
    assert web.post(f"/leads/{lead}/field", field="extra.תקציב", value="1,500.50").status_code == 302
    assert lead_of(furnished).extra["תקציב"] == "1500.5"
    refused = web.post(f"/leads/{lead}/field", field="extra.תקציב", value="הרבה")
    assert (refused.status_code, alert(refused)) == (400, "יש לכתוב מספר.")
    assert web.post(f"/leads/{lead}/field", field="extra.עיר", value="צפת").status_code == 400
    web.post(f"/leads/{lead}/field", field="extra.עיר", value="עכו")
    furnished.call("CA70", "+972502345678", draft(extra={"עיר": "חיפה", "תקציב": "לא יודעת"}))
    assert lead_of(furnished).extra["עיר"] == "עכו"  # a person wrote it
    assert lead_of(furnished).extra["תקציב"] == "1500.5"
    page = web.get(f"/leads/{lead}").text
    assert page.count("<dt><bdi>עיר</bdi></dt>") == 1
    field = furnished.desk.lead_field_rows(furnished.business)[0]
    web.post(f"/leads/setup/fields/{field.id}/remove")
    assert "עכו" in web.get(f"/leads/{lead}").text  # what stands in leads stays


def test_views_are_ones_own_or_everybodys(furnished):
    web, me = furnished.web, furnished.me
    saved = web.post("/leads/views", name="דחופים", q="מזגן", stage="new", nonsense="x")
    assert saved.location.startswith("/leads?")
    agent = furnished.person(UserRole.AGENT, me)
    theirs = furnished.browser(agent)
    assert "דחופים" in web.get("/leads").text
    assert "דחופים" not in theirs.get("/leads").text
    web.post("/leads/views", name="דחופים", q="דוד", shared="1", board="1")  # the same name: replaced
    (view,) = furnished.desk.views(furnished.business, furnished.as_actor(agent).user_id)
    assert (view.query, view.board, view.shared) == ({"q": "דוד"}, True, True)
    assert theirs.post("/leads/views", name="x", shared="1").status_code == 400
    assert theirs.post(f"/leads/views/{view.id}/remove").status_code == 404
    assert web.post(f"/leads/views/{view.id}/remove").status_code == 302
    assert web.post("/leads/views", name=" ").status_code == 400


def test_leads_are_filtered_by_fields_of_the_business(furnished):
    web, lead = furnished.web, furnished.leads[0]
    web.post("/leads/setup/fields", name="עיר", kind="choice", choices="צפת\nעכו")
    web.post("/leads/setup/fields", name="שטח", kind="number")
    city, size = (one.id for one in furnished.desk.lead_field_rows(furnished.business))
    web.post(f"/leads/{lead}/field", field="extra.עיר", value="עכו")
    web.post(f"/leads/{lead}/field", field="extra.שטח", value="80")
    name = lead_of(furnished).name
    assert names(furnished, f"f{city}=עכו&f{size}_min=79.5") == [name]
    assert names(furnished, f"f{city}=צפת") == []
    assert name not in names(furnished, f"f{city}=∅")
    page = web.get(f"/leads/board?f{city}=עכו").text
    assert page.count("data-lead=") == 1
    assert '<option value="עכו" selected>' in page
    saved = web.post("/leads/views", name="עכו", **{f"f{city}": "עכו", f"f{size}_max": "100"})
    assert names(furnished, saved.location.partition("?")[2]) == [name]
    export = web.get(f"/export?f{city}=צפת").text
    assert f'name="f{city}" value="צפת"' in export


# ---- contacts


def test_contacts_are_added_merged_and_taken_apart(furnished):
    web, contact = furnished.web, furnished.contact
    assert web.post("/contacts", name="חדש", phone="050-2345678").location == f"/contacts/{contact}?told=known"
    new = web.post("/contacts", name="רותי לוי", phone="03-1234567").location.partition("?")[0]
    refused = web.post("/contacts", name="דנה\u202e", phone="03-7654321")
    assert (refused.status_code, "תווים נסתרים" in alert(refused)) == (400, True)
    assert web.post("/contacts", name="דנה", phone="123").status_code == 400
    assert "03-123-4567" in web.get(f"/contacts/{contact}/merge").text  # of the same name
    web.post(f"/contacts/{contact}/notes", text="הערה על רותי")
    assert web.post(f"/contacts/{contact}/merge", gone=new.rpartition("/")[2]).status_code == 302
    assert web.get(new).location == f"/contacts/{contact}"
    page = web.get(f"/contacts/{contact}").text
    assert "03-123-4567" in page
    assert "הערה על רותי" in page
    undo = re.search(r"/merges/\d+/undo", page)[0]
    assert web.post(undo).location.startswith(new)
    assert web.get(new).status_code == 200
    assert "כבר בוטל" in web.post(undo).text


def test_a_long_timeline_goes_on(furnished):
    for number in range(60):
        furnished.now += timedelta(minutes=1)
        furnished.edits.note_contact(furnished.me, furnished.contact, f"הערה {number}.")
    page = furnished.web.get(f"/contacts/{furnished.contact}").text
    assert "הערה 59." in page
    assert "הערה 9." not in page
    more = re.search(r'rel="next" href="([^"]+)"', page)[1].replace("&amp;", "&")
    earlier = furnished.web.get(more).text
    assert "הערה 9." in earlier
    assert "הערה 10." not in earlier
    assert "נפתח ליד" in earlier


# ---- tasks


def test_tasks_are_assigned_put_off_and_told_by_their_week(furnished):
    web, lead, me = furnished.web, furnished.leads[0], furnished.me
    assert web.post(f"/leads/{lead}/tasks", soon="morning", note="לבדוק", kind="todo").status_code == 302
    assert web.post(f"/leads/{lead}/tasks", soon="", due="2026-12-05T10:00").status_code == 302  # Shabbat
    page = web.get("/tasks").text
    assert re.findall(r"<h2[^>]*>([^<]+)</h2>", page) == ["באיחור", "השבוע", "בהמשך"]
    assert page.count("badge-warning") == 1 + 1  # the Shabbat that was, of the broken call, and the one to come
    assert 'aria-hidden="true">6<' in page  # reminders
    task = int(re.search(r'data-task="(\d+)"', page)[1])
    assert web.post(f"/tasks/{task}/snooze", until="morning").status_code == 302
    assert 'aria-hidden="true">5<' in web.get("/tasks").text
    assert web.post(f"/tasks/{task}/snooze", until="2020-01-01T10:00").status_code == 400
    assert web.post(f"/tasks/{task}/assignee", assignee=me.user_id).status_code == 302
    assert web.post(f"/tasks/{task}/assignee", assignee=999).status_code == 400
    assert web.get("/tasks?who=me").text.count("data-task=") == 1
    assert web.get("/tasks?due=later").text.count("data-task=") == 1
    furnished.now += timedelta(days=1)
    assert 'aria-hidden="true">7<' in web.get("/tasks").text


# ---- files


def upload(desk, data, name="anashim.csv"):
    data = data.encode() if isinstance(data, str) else data
    return desk.web.post("/contacts/import", file=(io.BytesIO(data), name))


def test_a_file_is_looked_at_taken_in_and_taken_out(furnished):
    web = furnished.web
    job = upload(furnished, FILE.encode("windows-1255")).location
    page = web.get(job).text
    assert "windows-1255" in page
    assert re.findall(r'value="(\w+)" selected', page) == COLUMNS  # guessed by the titles
    before = furnished.desk.contacts(furnished.business).total
    web.post(f"{job}/columns", column=COLUMNS)
    assert furnished.desk.contacts(furnished.business).total == before
    figures = re.findall(r'tabular-nums[^"]*">([\d,]+)</span><span class="text-sm">([^<]+)', web.get(job).text)
    assert [int(figure) for figure, _ in figures] == [1, 1, 1, 1, 0]
    assert web.post(f"{job}/apply").location.endswith("told=imported")
    assert web.post(f"{job}/apply").status_code == 404  # once
    assert names(furnished, "origin=import&q=ארז") == ["דנה ארז"]
    found = furnished.desk.find(furnished.business, "ארז")
    assert (len(found.leads), len(found.contacts)) == (1, 1)
    assert "לחזור בערב" in web.get(f"/contacts/{found.contacts[0].row.id}").text
    known = furnished.desk.contact(furnished.business, furnished.contact).contact
    assert (known.name, [one["name"] for one in known.aliases]) == ("רותי לוי", ["דוד לוי"])
    left = furnished.call("CA71", "+972507654321", draft("דנה ארז"))
    assert left.contact_id == found.contacts[0].row.id
    assert left.lead_id == found.leads[0].row.id
    assert web.post(f"{job}/undo").status_code == 302
    known = furnished.desk.contact(furnished.business, furnished.contact).contact
    assert (known.name, known.aliases) == ("רותי לוי", [])
    assert furnished.desk.contact(furnished.business, left.contact_id) is not None  # has called since
    assert web.post(f"{job}/undo").status_code == 400


def test_an_import_that_is_undone_leaves_nothing(furnished):
    before = (furnished.desk.contacts(furnished.business).total, len(names(furnished, "")))
    job = upload(furnished, FILE).location
    furnished.web.post(f"{job}/columns", column=COLUMNS)
    furnished.web.post(f"{job}/apply")
    furnished.web.post(f"{job}/undo")
    assert (furnished.desk.contacts(furnished.business).total, len(names(furnished, ""))) == before
    assert not furnished.desk.find(furnished.business, "ארז")
    assert furnished.desk.tags(furnished.business) == []


def test_who_asked_to_be_forgotten_is_not_brought_back_by_a_file(furnished):
    web = furnished.web
    furnished.privacy.erasure.erase(None, furnished.business, furnished.contact)
    job = upload(furnished, FILE).location
    web.post(f"{job}/columns", column=COLUMNS)
    assert "ביקש שנמחק" in web.get(job).text
    web.post(f"{job}/apply", skip="1")
    assert names(furnished, "origin=import") == ["דנה ארז"]
    assert "דוד לוי" not in web.get("/contacts").text


def test_a_file_nobody_took_in_goes(desk):
    upload(desk, FILE)
    desk.now += timedelta(days=8)
    desk.web = desk.browser("dana@example.com")
    new = upload(desk, FILE).location
    assert len(desk.desk.imports(desk.business)) == 1
    desk.web.post(f"{new}/drop")
    assert desk.desk.imports(desk.business) == []


def test_wrong_rows_are_told_and_nothing_is_taken_in(furnished):
    web = furnished.web
    rows = 'דנה,050-7654321,,,,\n=cmd(),050-7654322,,,,\nאבי,12,,,,\n"דנה\u202e",050-7654323,,,,\n'
    job = upload(furnished, FILE.partition("\n")[0] + "\n" + rows).location
    assert web.post(f"{job}/apply").status_code == 400  # before anybody has looked
    assert web.post(f"{job}/columns", column=["name"] * 6).status_code == 400
    web.post(f"{job}/columns", column=COLUMNS)
    page = web.get(job).text
    for told in ("נוסחאות לא נקלטות", "מספר הטלפון אינו תקין", "הופכים את כיוון הכתיבה"):
        assert told in page
    before = furnished.desk.contacts(furnished.business).total
    refused = web.post(f"{job}/apply")
    assert (refused.status_code, "לא נקלט דבר" in alert(refused)) == (400, True)
    assert furnished.desk.contacts(furnished.business).total == before
    assert web.post(f"{job}/apply", skip="1").status_code == 302
    assert furnished.desk.contacts(furnished.business).total == before + 1


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "הקובץ ריק"),
        ('שם,טלפון\n"דנה,050\n', "מירכאות נפתחות ולא נסגרות"),
        (b"PK\x03\x04" + b"x" * 50, "קובץ של אקסל"),
        (b"\x89PNG\xff\xfb\xfc" * 10, "לא הצלחנו לקרוא את האותיות"),
        ("טלפון\n" + "0502345678\n" * 20_001, "יותר מ־20,000 שורות"),
    ],
)
def test_a_bad_file_is_refused_kindly(desk, data, told):
    answer = upload(desk, data)
    assert answer.status_code == 400
    assert told in alert(answer)
    assert desk.desk.imports(desk.business) == []


def test_fifty_megabytes_are_refused_kindly(desk):
    answer = upload(desk, b"x" * 50_000_000)
    assert answer.status_code == 413
    assert "הקובץ גדול מ־10 מ״ב" in answer.text
    assert desk.desk.imports(desk.business) == []
    assert upload(desk, b"x" * (csv_files.MOST_BYTES + 1)).status_code == 400
    assert upload(desk, "שם,טלפון\n" + "דנה,0502345678\n" * 9000).status_code == 302
    assert desk.web.post("/account/password", old="x" * 100_000).status_code == 413  # other forms are small


def test_lists_are_files_that_excel_opens_right(furnished):
    furnished.edits.set_field(furnished.me, furnished.leads[0], "name", '=HYPERLINK("http://x")')
    furnished.edits.set_value(furnished.me, furnished.leads[0], "12500")
    sent = furnished.web.post("/export", kind="leads", format="csv", q="0502345678")
    assert sent.headers["Content-Disposition"] == 'attachment; filename="leads-2026-11-22.csv"'
    assert sent.data.startswith(b"\xef\xbb\xbf")
    head, row = csv.reader(io.StringIO(sent.data.decode("utf-8-sig"), newline=""))
    cells = dict(zip(head, row, strict=True))
    assert cells["שם"] == '\'=HYPERLINK("http://x")'
    assert (cells["טלפון"], cells["שווי"], cells["שלב"]) == ("050-234-5678", "12500", "חדש")
    sent = furnished.web.post("/export", kind="leads", format="xlsx")
    sheet = openpyxl.load_workbook(io.BytesIO(sent.data)).active
    assert sheet.sheet_view.rightToLeft
    row = next(row for row in sheet.iter_rows() if row[1].value == "050-234-5678")
    assert (row[0].value, row[0].data_type) == ('=HYPERLINK("http://x")', "s")
    assert (row[6].value, row[1].data_type, row[11].is_date) == (12500, "s", True)
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(sent.data)).read("xl/worksheets/sheet1.xml")
    contacts = furnished.web.post("/export", kind="contacts", format="csv").data.decode("utf-8-sig")
    assert "סבטלנה גורביץ׳" in contacts
    assert furnished.web.post("/export", kind="nonsense", format="csv").status_code == 400


def test_a_long_list_is_written_by_a_worker(furnished, monkeypatch):
    monkeypatch.setattr(exporting, "AT_ONCE", 3)
    assert furnished.web.post("/export", kind="leads", format="xlsx", stage="new").location == "/export?told=export"
    assert "בהכנה" in furnished.web.get("/export").text
    assert furnished.edits.write_next_export()
    assert not furnished.edits.write_next_export()
    path = re.search(r"/export/\d+", furnished.web.get("/export").text)[0]
    sent = furnished.web.get(path)
    assert openpyxl.load_workbook(io.BytesIO(sent.data)).active.max_row == 7
    other = furnished.crm.ensure_business("אחר", key="other")
    furnished.owner("other@example.com", other)
    assert furnished.browser("other@example.com").get(path).status_code == 404
    furnished.now += timedelta(days=8)
    furnished.edits.write_next_export()
    furnished.web = furnished.browser("dana@example.com")
    assert furnished.web.get(path).status_code == 404


def test_a_list_whose_writer_died_is_begun_anew_and_given_up_after_three(furnished, monkeypatch):
    monkeypatch.setattr(exporting, "AT_ONCE", 3)
    furnished.web.post("/export", kind="leads", format="csv")

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exporting.Exports, "_file", dies)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                furnished.edits.write_next_export()
            assert not furnished.edits.write_next_export()  # somebody is at it, as far as anybody knows
            furnished.now += timedelta(minutes=11)
    assert not furnished.edits.write_next_export()
    assert "לא הצליח" in furnished.web.get("/export").text


def test_another_business_is_not_there(furnished):
    other = furnished.crm.ensure_business("אחר", key="other")
    furnished.owner("other@example.com", other)
    stranger = furnished.browser("other@example.com")
    job = upload(furnished, FILE).location
    furnished.web.post("/leads/views", name="שלי", shared="1")
    furnished.web.post("/leads/setup/fields", name="תקציב", kind="number")
    task = furnished.desk.tasks(furnished.business).rows[0][0].id
    lead, contact = furnished.leads[0], furnished.contact
    for path in (job, f"/contacts/{contact}/merge", f"/contacts/{contact}"):
        assert stranger.get(path).status_code == 404, path
    for path, form in (
        (f"{job}/columns", {"column": COLUMNS}), (f"{job}/apply", {}), (f"{job}/undo", {}), (f"{job}/drop", {}),
        (f"/leads/{lead}/value", {"value": "1"}), (f"/leads/{lead}/tags", {"tags": "x"}),
        (f"/tasks/{task}/snooze", {"until": "morning"}), (f"/tasks/{task}/assignee", {"assignee": ""}),
        (f"/contacts/{contact}/notes", {"text": "x"}), (f"/contacts/{contact}/phones", {"phone": "03-1234567"}),
        (f"/contacts/{contact}/merge", {"gone": "1"}), ("/leads/views/1/remove", {}),
        ("/leads/setup/fields/1/remove", {}), ("/merges/1/undo", {}),
    ):  # fmt: skip
        assert stranger.post(path, **form).status_code == 404, path
    assert "רותי" not in stranger.get("/search?q=רותי").text.partition("<main")[2].replace('value="רותי"', "")
