"""The profile as a form, and back."""

from hypothesis import given
from hypothesis import strategies as st

from moked.dialog.hours import WEEKDAYS
from moked.dialog.ownerfile import plain, written
from moked.dialog.published import Part, files_of, read_agent
from moked.web.desk.profile_form import ROWS, TEXTS, error_field, said_words, shown, taken, with_words

FILES = files_of(None, None)
FIELDS = plain(FILES.profile, "profile")


def sent(form):
    """What a browser sends back of a form that nobody touched."""
    fields = {key: [form.texts[key]] for key in TEXTS}
    fields |= {"voice_gender": [form.voice_gender], "hints": [form.hints]}
    fields |= {f"hours_{day}": [form.hours[day]] for day in WEEKDAYS}
    for name, columns in ROWS.items():
        fields |= {f"{name}_{column}": [row[column] for row in form.rows[name]] for column in columns}
    return lambda name: fields.get(name, [])


def business(fields):
    return read_agent(FILES.with_part(Part.PROFILE, written(fields))).business


def test_a_form_nobody_touched_changes_nothing():
    again = taken(FIELDS, sent(shown(FIELDS)))
    assert business(again) == business(FIELDS)
    assert taken(again, sent(shown(again))) == again


def test_rows_that_are_emptied_go_and_new_ones_come():
    values = sent(shown(FIELDS))
    services = {"services_name": ["", "ניקוי"], "services_price": ["", "90 שקלים"], "services_note": ["", ""],
                "services_keywords": ["", "ניקוי, לנקות ,"]}  # fmt: skip
    again = taken(FIELDS, lambda name: services.get(name, values(name)))
    assert again["services"] == [{"name": "ניקוי", "price": "90 שקלים", "keywords": ["ניקוי", "לנקות"]}]


def test_hours_are_ranges_with_commas():
    values = sent(shown(FIELDS))
    hours = {"hours_sunday": ["08:00-13:00, 16:00-19:00"], "hours_monday": ["סגור"], "hours_friday": [" "]}
    again = taken(FIELDS, lambda name: hours.get(name, values(name)))
    assert again["hours"]["sunday"] == ["08:00-13:00", "16:00-19:00"]
    assert (again["hours"]["monday"], again["hours"]["friday"]) == ("closed", "closed")
    assert shown(again).hours["sunday"] == "08:00-13:00, 16:00-19:00"
    assert shown(again).hours["monday"] == ""


def test_what_the_form_does_not_show_stays():
    assert taken({**FIELDS, "disclosure": "מדבר בוט."}, sent(shown(FIELDS)))["disclosure"] == "מדבר בוט."
    assert said_words(taken(FIELDS, sent(shown(FIELDS)))) == said_words(FIELDS) != []


def test_words_and_how_they_are_said():
    fields = with_words(FIELDS, ["בוילר", "דוד ", "", "ריק"], ["בוֹילר", " דּוּד", "x", ""])
    assert said_words(fields) == [("בוילר", "בוֹילר"), ("דוד", "דּוּד")]
    assert "pronunciation" not in with_words(fields, [], [])


def test_a_place_in_the_text_is_a_field_of_the_form():
    for path, field in (("services[2].price", "services-1-price"), ("hours.monday", "hours-monday"),
                        ("hours.monday[2]", "hours-monday"), ("faq[1].keywords[3]", "faq-0-keywords"),
                        ("holidays[1].hours[1]", "holidays-0-hours"), ("phone", "phone"), ("", "")):  # fmt: skip
        assert error_field(path) == field


anything = st.recursive(
    st.text(max_size=8) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TEXTS, *ROWS, "hours"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*TEXTS, *ROWS, "hours", "hints", "pronunciation"]), anything))
def test_whatever_an_owner_wrote_can_be_shown_and_sent(fields):
    once = taken(fields, sent(shown(fields)))
    assert taken(once, sent(shown(once))) == once
    assert all(isinstance(pair, tuple) for pair in said_words(fields))
