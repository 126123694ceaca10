"""Days and times: what people say on a Tuesday morning, the rules for what they leave open, and what always holds."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import hours
from moked.dialog.moments import Moment, Precision, due, moment, say_date

ZONE = ZoneInfo("Asia/Jerusalem")
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=ZONE)  # a Tuesday
instants = st.datetimes(datetime(2026, 1, 1), datetime(2030, 12, 31), timezones=st.just(ZONE))


def shown(found: Moment | None) -> str:
    """ "2026-11-25 08:00-12:00 morning", as much of it as is known."""
    if found is None:
        return "-"
    days = str(found.day) if found.day else "?"
    if found.until:
        days += f"..{found.until}"
    start, end = (f"{at:%H:%M}" if at else "" for at in (found.start, found.end))
    times = start if found.exact else f"{start}-{end}" if start or end else ""
    return " ".join(filter(None, (days, times, found.part if not times else "", "past" if found.past else "")))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # days
        ("היום", "2026-11-24"),
        ("מחר", "2026-11-25"),
        ("מחרתיים", "2026-11-26"),
        ("ביום ראשון", "2026-11-29"),
        ("ביום ראשון הקרוב", "2026-11-29"),
        ("ביום ראשון הבא", "2026-11-29"),
        ("ביום רביעי", "2026-11-25"),
        ("ביום רביעי הבא", "2026-12-02"),
        ("ביום שלישי", "2026-12-01"),
        ("יום שלישי הבא", "2026-12-01"),
        ("בחמישי", "2026-11-26"),
        ("שבת", "2026-11-28"),
        ("ראשון", "2026-11-29"),
        ("שני הקרוב", "2026-11-30"),
        ("ביום שני שבוע הבא", "2026-11-30"),
        ("ביום חמישי בעוד שבוע", "2026-12-03"),
        ("בעוד שבוע", "2026-12-01"),
        ("בעוד שבועיים", "2026-12-08"),
        ("בעוד שלושה ימים", "2026-11-27"),
        ("עוד יומיים", "2026-11-26"),
        ("בעוד חודש", "2026-12-24"),
        ("ב-15 לחודש", "2026-12-15"),
        ("בעשרים ושבעה לחודש", "2026-11-27"),
        ("חמישה עשר במרץ", "2027-03-15"),
        ("החמישה עשר במרץ", "2027-03-15"),
        ("ב-20 בדצמבר", "2026-12-20"),
        ("באחד בינואר", "2027-01-01"),
        ("הראשון במאי", "2027-05-01"),
        ("עשרים ותשעה בפברואר", "2028-02-29"),
        ("15.3", "2027-03-15"),
        ("15/3/27", "2027-03-15"),
        ("15.03.2027", "2027-03-15"),
        ("ביום ראשון, ה-29 בנובמבר", "2026-11-29"),
        ("נולדתי בחמישה עשר במרץ אלף תשע מאות שמונים ושתיים", "1982-03-15 past"),
        # spans
        ("שבוע הבא", "2026-11-29..2026-12-03"),
        ("השבוע הזה", "2026-11-24..2026-11-27"),
        ("בסוף השבוע", "2026-11-27..2026-11-28"),
        ("בתחילת השבוע", "2026-11-29..2026-11-30"),
        ("חודש הבא", "2026-12-01..2026-12-31"),
        # parts of a day
        ("מחר בבוקר", "2026-11-25 morning"),
        ("בערב", "2026-11-24 evening"),
        ("הערב", "2026-11-24 evening"),
        ("בצהריים", "2026-11-24 noon"),
        ("אחרי הצהריים", "2026-11-24 afternoon"),
        ("מחר אחר הצהריים", "2026-11-25 afternoon"),
        ("לפני הצהריים", "2026-11-24 morning"),
        ("במוצאי שבת", "2026-11-28 evening"),
        ('במוצ"ש', "2026-11-28 evening"),
        ("אפשר מחר, אם נוח, בבוקר?", "2026-11-25 morning"),
        # hours
        ("בשמונה", "2026-11-24 20:00"),
        ("בשמונה בבוקר", "2026-11-25 08:00"),
        ("מחר בשמונה", "2026-11-25 08:00"),
        ("מחר בשש", "2026-11-25 18:00"),
        ("מחר בשש בבוקר", "2026-11-25 06:00"),
        ("שמונה וחצי בערב", "2026-11-24 20:30"),
        ("רבע לתשע", "2026-11-24 20:45"),
        ("עשרה לשש", "2026-11-24 17:50"),
        ("מחר בעשרים לתשע", "2026-11-25 08:40"),
        ("שבע ועשרים בערב", "2026-11-24 19:20"),
        ("בשמונה עשרים", "2026-11-24 20:20"),
        ("בשתים עשרה וחצי", "2026-11-24 12:30"),
        ("שלוש", "2026-11-24 15:00"),
        ("שלוש בצהריים", "2026-11-24 15:00"),
        ("בשעה 17:30", "2026-11-24 17:30"),
        ("בשעה שבע עשרה", "2026-11-24 17:00"),
        ("מחר ב-8:30", "2026-11-25 08:30"),
        ("יום רביעי ב-16:00", "2026-11-25 16:00"),
        ("ב-20 בדצמבר בשעה עשר וחצי", "2026-12-20 10:30"),
        ("מחר בשתים עשרה בלילה", "2026-11-26 00:00"),
        ("בעוד שעה וחצי", "2026-11-24 11:30"),
        ("בעוד חצי שעה", "2026-11-24 10:30"),
        ("עוד עשר דקות", "2026-11-24 10:10"),
        ("תוך שעתיים", "2026-11-24 12:00"),
        ("היום בשמונה בבוקר", "2026-11-24 08:00 past"),
        # from, until
        ("היום בערב אחרי שש", "2026-11-24 18:00-"),
        ("ביום שלישי אחרי ארבע", "2026-11-24 16:00-"),
        ("אחרי אחת עשרה", "2026-11-24 11:00-"),
        ("היום עד חמש וחצי", "2026-11-24 -17:30"),
        ("לפני שמונה בבוקר", "2026-11-25 -08:00"),
        ("בין ארבע לשש", "2026-11-24 16:00-18:00"),
        ("מתשע עד אחת", "2026-11-24 09:00-13:00"),
        ("מ-8 עד 12", "2026-11-24 08:00-12:00"),
        ("מחר מתשע עד שתיים בצהריים", "2026-11-25 09:00-14:00"),
        ("ביום חמישי בין שמונה לעשר בבוקר", "2026-11-26 08:00-10:00"),
        ("מחר בין שמונה לעשר בערב", "2026-11-25 20:00-22:00"),
        # corrected
        ("ראשון? לא, ביום שני בבוקר", "2026-11-30 morning"),
        ("מחר, בעצם מחרתיים", "2026-11-26"),
        # the first day counts, the rest is a story
        ("תחזרו אליי מחר, הנזילה התחילה היום", "2026-11-25"),
        # kept as words
        ("אחרי החגים", "?"),
        ("בחול המועד", "?"),
        # nothing of the kind
        ("שלושים ואחת בפברואר", "-"),
        ("בשני ימים", "-"),
        ("יש לי שני ילדים", "-"),
        ("אין לי מושג", "-"),
        ("אני גר ברחוב הרצל 12", "-"),
        ("", "-"),
    ],
)
def test_on_a_tuesday_at_ten(said: str, expected: str) -> None:
    assert shown(moment(said, NOW)) == expected


@pytest.mark.parametrize(
    ("hour", "said", "expected"),
    [
        (6, "בשמונה", "2026-11-24 08:00"),
        (5, "בשש", "2026-11-24 18:00"),  # nobody is called at six in the morning
        (12, "באחת עשרה", "2026-11-25 11:00"),  # nor at eleven at night
        (21, "בשמונה", "2026-11-25 08:00"),
        (21, "בערב", "2026-11-24 evening"),
        (23, "בערב", "2026-11-25 evening"),
        (16, "בצהריים", "2026-11-25 noon"),
        (14, "מתשע עד אחת", "2026-11-25 09:00-13:00"),
        (12, "היום בשתיים", "2026-11-24 14:00"),
        (17, "ביום שלישי אחרי ארבע", "2026-12-01 16:00-"),
        (10, "היום בשבע", "2026-11-24 19:00"),
    ],
)
def test_an_hour_is_the_next_one_that_fits(hour: int, said: str, expected: str) -> None:
    assert shown(moment(said, NOW.replace(hour=hour))) == expected


@pytest.mark.parametrize(
    ("said", "spoken", "written"),
    [
        ("מחר בבוקר", "מחר בבוקר", "25.11.2026 בבוקר"),
        ("ביום ראשון", "ביום ראשון, עשרים ותשעה בנובמבר", "29.11.2026"),
        ("ב-20 בדצמבר בשעה עשר וחצי", "ביום ראשון, עשרים בדצמבר, בעשר וחצי בבוקר", "20.12.2026 10:30"),
        ("מחר אחרי ארבע", "מחר אחרי ארבע אחר הצהריים", "25.11.2026 אחרי 16:00"),
        ("היום עד חמש", "היום עד חמש אחר הצהריים", "24.11.2026 עד 17:00"),
        ("בין שמונה לעשר בבוקר מחר", "מחר בין שמונה לעשר בבוקר", "25.11.2026 08:00-10:00"),
        ("שבוע הבא", "בין עשרים ותשעה בנובמבר לשלושה בדצמבר", "29.11.2026 עד 3.12.2026"),
        ("אחרי החגים", "אחרי החגים", "אחרי החגים"),
        ("15.3.1982", "חמישה עשר במרץ, אלף תשע מאות שמונים ושתיים", "15.3.1982"),
    ],
)
def test_read_back_and_written_down(said: str, spoken: str, written: str) -> None:
    found = moment(said, NOW)
    assert found is not None
    assert (found.spoken, found.written) == (spoken, written)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("מחר בבוקר", datetime(2026, 11, 25, 8)),
        ("מחר אחרי ארבע", datetime(2026, 11, 25, 16)),
        ("בין ארבע לשש", datetime(2026, 11, 24, 16)),
        ("מחר", None),
        ("שבוע הבא", None),
        ("היום עד חמש", None),
        ("היום בשמונה בבוקר", None),  # over
        ("אחרי החגים", None),
    ],
)
def test_when_to_act(said: str, expected: datetime | None) -> None:
    found = moment(said, NOW)
    assert found is not None
    assert due(found) == expected


@given(st.integers(0, 364), instants)
def test_a_date_is_understood_as_it_is_said(ahead: int, now: datetime) -> None:
    day = now.date() + timedelta(days=ahead)
    for said in (
        say_date(day),
        f"{day.day}.{day.month}",
        f"{day.day}/{day.month}/{day.year}",
        f"ב-{day.day}.{day.month}",
    ):
        found = moment(said, now)
        assert found is not None
        assert found.day == day


@given(st.integers(0, 1439), instants)
def test_a_clock_is_understood_as_it_is_said(minute: int, now: datetime) -> None:
    found = moment(f"מחר ב{hours.clock(minute)}", now)
    assert found is not None
    assert found.exact
    assert found.start == time(minute // 60, minute % 60)


@given(instants, st.sampled_from(["ראשון", "שני", "שלישי", "רביעי", "חמישי", "שישי"]), st.sampled_from(["", " הבא"]))
def test_a_weekday_is_that_day_and_soon(now: datetime, name: str, after: str) -> None:
    found = moment(f"ביום {name}{after}", now)
    assert found is not None
    assert found.day is not None
    assert hours.on_day(found.day.isoweekday() % 7) == f"ביום {name}"
    assert 1 <= (found.day - now.date()).days <= (8 if after else 7)


@given(instants, st.integers(1, 12), st.sampled_from(["", " וחצי", " ורבע"]))
def test_an_hour_alone_is_within_a_day_and_never_over(now: datetime, hour: int, more: str) -> None:
    found = moment(f"בשעה {hours.clock(hour % 12 * 60).rsplit(' ', 1)[0] if hour % 12 else 'שתים עשרה'}{more}", now)
    assert found is not None
    assert found.day is not None
    assert found.start is not None
    assert not found.past
    ahead = datetime.combine(found.day, found.start) - now.replace(tzinfo=None)
    assert timedelta(0) < ahead <= timedelta(days=2)


@given(st.text(alphabet="אבגדהוזחטיכלמנסעפצקרשת 0123456789,.-/:?", max_size=60), instants)
def test_never_fails(text: str, now: datetime) -> None:
    found = moment(text, now)
    if found:
        assert found.spoken
        assert found.written
        assert found.precision >= Precision.WORDS
        due(found)


WORDS_OF_TIME = """
    מחר היום בבוקר בערב ביום ראשון שני הבא בשמונה שמונה וחצי רבע לתשע אחרי עד בין ל ב 15 17:30 במרץ לחודש שבוע בעוד עשר
    עשרה שבועיים מוצאי שבת , לא שעה שתים עשרים מ צהריים הצהריים חודש אחת 31 . 2 / בפברואר לילה חצות
"""
words_of_time = st.sampled_from(WORDS_OF_TIME.split())


@given(st.lists(words_of_time, max_size=8).map(" ".join), instants)
def test_never_fails_on_words_of_time(text: str, now: datetime) -> None:
    found = moment(text, now)
    if found and found.start and found.end:
        assert found.start < found.end
    if found:
        assert found.spoken
        assert found.written
