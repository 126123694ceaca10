"""The business profile: hours as people say them, and mistakes that tell where they are and what is right."""

import re
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import hours
from moked.dialog.business import Business, Closure, gendered, load_business
from moked.dialog.hours import Span
from moked.dialog.moments import moment
from moked.errors import ProfileError

ISRAEL = ZoneInfo("Asia/Jerusalem")
MINIMAL = """
name: "בדיקה"
greeting: "שלום, מדבר העוזר הקולי של בדיקה."
hours:
  sunday: "08:00-17:00"
"""


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ISRAEL)


def profile(tmp_path: Path, text: str) -> Business:
    path = tmp_path / "business.yaml"
    path.write_text(text, encoding="utf-8")
    return load_business(path)


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ProfileError) as caught:
        profile(tmp_path, text)
    return str(caught.value)


def test_the_packaged_business_is_complete() -> None:
    business = load_business()
    assert business.services
    assert business.faq
    assert business.transfer_number == "+972502345678"
    assert "העוזר הקולי" in business.greeting
    assert business.recording_notice in business.greeting
    assert all(fact in business.facts_text() for fact in (business.name, business.address, "אחריות", "250"))
    assert not re.search(r"[{}]", business.greeting + business.facts_text())


def test_the_template_for_owners_loads() -> None:
    with_remarks = files("moked.dialog").joinpath("defaults", "business.template.yaml").read_text(encoding="utf-8")
    business = load_business(Path(str(files("moked.dialog").joinpath("defaults", "business.template.yaml"))))
    assert business.transfer_number == ""
    assert business.spans_on(at("2027-04-22").date()) == ()
    known = ("name", "description", "hours", "holidays", "services", "faq", "greeting", "disclosure", "hints")
    assert all(f"{key}:" in with_remarks for key in known)


@pytest.mark.parametrize(
    ("moment", "is_open", "next_opening", "said"),
    [
        ("2026-11-22 10:00", True, "2026-11-23 08:00", "אנחנו פתוחים עכשיו, עד שש בערב."),
        ("2026-11-22 07:59", False, "2026-11-22 08:00", "כרגע אנחנו סגורים, ונפתח היום בשמונה בבוקר."),
        ("2026-11-22 18:00", False, "2026-11-23 08:00", "כרגע אנחנו סגורים, ונפתח מחר בשמונה בבוקר."),
        ("2026-11-27 15:00", False, "2026-11-29 08:00", "כרגע אנחנו סגורים, ונפתח ביום ראשון בשמונה בבוקר."),
        ("2026-12-11 11:00", True, "2026-12-13 08:00", "אנחנו פתוחים עכשיו, עד שתים עשרה בצהריים."),
        (
            "2027-04-22 10:00", False, "2027-04-29 08:00",
            "כרגע אנחנו סגורים לרגל פסח, ונפתח ביום חמישי, 29.4, בשמונה בבוקר.",
        ),
    ],
)  # fmt: skip
def test_open_and_closed(moment: str, is_open: bool, next_opening: str, said: str) -> None:
    business = load_business()
    assert business.is_open(at(moment)) is is_open
    assert business.next_opening(at(moment)) == at(next_opening)
    assert business.now_text(at(moment)) == said
    assert business.hours_text(at(moment)) == f"{said} {business.week_text()}"


def test_the_clock_of_the_business_decides() -> None:
    utc = datetime(2026, 11, 22, 6, 30, tzinfo=ZoneInfo("UTC"))  # 08:30 in Israel
    assert load_business().is_open(utc)
    summer = datetime(2026, 8, 23, 5, 30, tzinfo=ZoneInfo("UTC"))  # 08:30 with daylight saving
    assert load_business().is_open(summer)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("מחר בעשר", "2026-11-23T10:00"),
        ("מחר אחרי ארבע", "2026-11-23T16:00"),
        ("מחר בבוקר", "2026-11-23T08:00"),
        ("מחר", "2026-11-23T08:00"),  # when it opens on that day
        ("ביום שישי", "2026-11-27T08:00"),
        ("היום בערב", "2026-11-22T18:00"),
        ("בשבת", ""),  # closed
        ("שבוע הבא", ""),
        ("היום עד חמש", ""),
        ("אחרי החגים", ""),
    ],
)
def test_when_to_call_back(said: str, expected: str) -> None:
    wish = moment(said, at("2026-11-22T09:00"))  # a Sunday
    assert wish is not None
    found = load_business().callback_at(wish)
    assert (found.astimezone(ISRAEL).strftime("%Y-%m-%dT%H:%M") if found else "") == expected


def test_a_business_that_never_opens() -> None:
    business = Business(name="x", greeting="x")
    assert business.next_opening(at("2026-11-22 10:00")) is None
    assert business.hours_text(at("2026-11-22 10:00")) == "כרגע אנחנו סגורים. אנחנו סגורים כל השבוע."


def test_the_week_in_words() -> None:
    assert load_business().week_text() == (
        "בימים ראשון עד חמישי משמונה בבוקר עד שש בערב. ביום שישי משמונה בבוקר עד אחת בצהריים. בשבת סגור."
    )
    assert hours.week(((Span(0, 1440),),) * 7) == "בכל יום מחצות עד חצות."
    assert [hours.clock(m) for m in (510, 525, 1005, 545, 557, 1290)] == [
        "שמונה וחצי בבוקר", "שמונה ארבעים וחמש בבוקר", "ארבע ארבעים וחמש אחר הצהריים", "תשע וחמישה בבוקר",
        "תשע ושבע עשרה דקות בבוקר", "תשע וחצי בערב",
    ]  # fmt: skip


@given(st.integers(0, 1440))
def test_every_minute_can_be_said(minute: int) -> None:
    said = hours.clock(minute)
    assert re.fullmatch(r"[א-ת ]+", said)
    assert "  " not in said


spans = st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 300)), max_size=1).map(
    lambda found: tuple(Span(start, min(1440, start + length)) for start, length in found)
)


@given(
    st.tuples(*[spans] * 7),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
)
def test_next_opening_is_open_and_nothing_opens_before(week: tuple[tuple[Span, ...], ...], naive: datetime) -> None:
    business = Business(name="x", greeting="x", hours=week)
    now = naive.replace(tzinfo=ISRAEL)
    opening = business.next_opening(now)
    assert (opening is None) == (not any(week))
    if opening is not None:
        assert opening.replace(tzinfo=None) > naive.replace(tzinfo=None)
        assert business.is_open(opening) or opening.utcoffset() != now.utcoffset()
    assert business.hours_text(now)


def test_the_gender_of_the_voice(tmp_path: Path) -> None:
    text = MINIMAL.replace("מדבר העוזר הקולי", "{מדבר העוזר הקולי|מדברת העוזרת הקולית}")
    assert profile(tmp_path, text).greeting == "שלום, מדבר העוזר הקולי של בדיקה."
    female = profile(tmp_path, f"{text}\nvoice_gender: female\n")
    assert female.greeting == "שלום, מדברת העוזרת הקולית של בדיקה."
    assert gendered("{אני בודק|אני בודקת} עכשיו", "female") == "אני בודקת עכשיו"


def test_a_greeting_that_hides_the_machine_is_preceded_by_the_disclosure(tmp_path: Path) -> None:
    hidden = MINIMAL.replace("שלום, מדבר העוזר הקולי של בדיקה.", "שלום, הגעתם לבדיקה. אני בוט.")
    assert profile(tmp_path, hidden).greeting == "שלום, מדבר העוזר הקולי של בדיקה. שלום, הגעתם לבדיקה. אני בוט."
    assert "voice assistant" in complaint(tmp_path, f'{hidden}\ndisclosure: "שלום לכם."\n')


def test_values_mean_what_they_look_like(tmp_path: Path) -> None:
    """YAML 1.1 makes 8:00-9:30 and no and 0502345678 into other things; an owner does not know that."""
    business = profile(tmp_path, MINIMAL.replace('"08:00-17:00"', "8:30-24:00") + "transfer_number: 0502345678\n")
    assert business.hours[0] == (Span(510, 1440),)
    assert business.transfer_number == "+972502345678"


def test_holidays_with_short_hours() -> None:
    day = at("2026-11-22").date()
    business = Business(
        name="x", greeting="x", hours=((Span(0, 1440),),) * 7, closures=(Closure(day, day, "", (Span(480, 600),)),)
    )
    assert business.is_open(at("2026-11-22 09:00"))
    assert not business.is_open(at("2026-11-22 10:00"))


@pytest.mark.parametrize(
    ("change", "where", "right"),
    [
        (("name: ", "nmae: "), "line 2: nmae", "did you mean 'name'"),
        (('sunday: "08:00-17:00"', 'sonday: "08:00-17:00"'), "line 5: hours.sonday", "did you mean 'sunday'"),
        (('"08:00-17:00"', '"8-17"'), "line 5: hours.sunday", "08:00-17:00"),
        (('"08:00-17:00"', '"17:00-08:00"'), "hours.sunday", "ends before it begins"),
        (('"08:00-17:00"', '"08:00-25:00"'), "hours.sunday", "no such hour"),
        (('"08:00-17:00"', '["08:00-13:00", "12:00-17:00"]'), "hours.sunday[2]", "begins before"),
        (('name: "בדיקה"', 'description: "x"'), "business.yaml", "'name' is missing"),
        (("hours:", "timezone: Israel/Holon\nhours:"), "line 4: timezone", "Asia/Jerusalem"),
        (("hours:", "voice_gender: robot\nhours:"), "voice_gender", "possible: male, female"),
        (("hours:", "transfer_number: 12345\nhours:"), "transfer_number", "050-2345678"),
        (("hours:", "transfer_number: '*2700'\nhours:"), "transfer_number", "can be dialled"),
        (("hours:", "holidays:\n  - date: 21.9.2026\nhours:"), "holidays[1].date", "year-month-day"),
        (("hours:", "holidays:\n  - date: 2026-09-21\n    until: 2026-09-20\nhours:"), "holidays[1].until", "before"),
        (("hours:", "services:\n  - price: x\nhours:"), "services[1]", "'name' is missing"),
        (("hours:", "faq:\n  - question: x\n    answer: y\nhours:"), "faq[1]", "'keywords' is missing"),
        (("hours:", "services: {name: x}\nhours:"), "services", "lines that begin with '-'"),
        (("hours:", "name: again\nhours:"), "line 4: name", "written twice"),
        (("hours:", "greeting: [x\nhours:"), "line", "not valid YAML"),
        (('name: "בדיקה"', "name: [a, b]"), "name", "a text is needed"),
    ],
)
def test_a_mistake_names_its_place_and_what_is_right(
    tmp_path: Path, change: tuple[str, str], where: str, right: str
) -> None:
    said = complaint(tmp_path, MINIMAL.replace(*change, 1))
    assert "business.yaml" in said
    assert where in said
    assert right in said


def test_files_that_are_no_profile(tmp_path: Path) -> None:
    assert "cannot be read" in _load_complaint(tmp_path / "absent.yaml")
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n")
    assert "is empty" in _load_complaint(empty)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in _load_complaint(binary)
    deep = tmp_path / "deep.yaml"
    deep.write_text("[" * 5000)
    assert "deep.yaml" in _load_complaint(deep)
    too_many = "hints: [" + ", ".join(f"w{i}" for i in range(101)) + "]\n"
    assert "too many" in complaint(tmp_path, MINIMAL + too_many)


def _load_complaint(path: Path) -> str:
    with pytest.raises(ProfileError) as caught:
        load_business(path)
    return str(caught.value)
