"""Approved templates: read with the place of every mistake, and filled whole or not at all."""

import pytest

from moked.channels import Template
from moked.channels.templates import Approved, Blank, WrongValues, read_templates
from moked.errors import ProfileError

FILE = """
templates:
  - name: appointment_reminder
    title: תזכורת לתור
    text: |
      שלום {{1}},
      נקבע לך תור ב־{{ 2 }}. נתראה, {{1}}!
    places:
      - label: שם
        fill: name
      - מועד
  - name: HX0123456789abcdef0123456789abcdef
    title: Call us
    text: Please call us.
    language: en_US
"""


def written(tmp_path, text):
    path = tmp_path / "templates.yaml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_is_read(tmp_path):
    first, second = read_templates(written(tmp_path, FILE))
    assert first == Approved(
        "appointment_reminder",
        "תזכורת לתור",
        "שלום {{1}},\nנקבע לך תור ב־{{ 2 }}. נתראה, {{1}}!",
        (Blank("שם", "name"), Blank("מועד")),
    )
    assert (second.name[:2], second.language, second.places) == ("HX", "en_US", ())
    assert first.beforehand({"name": "רותי"}) == ("רותי", "")


def test_places_are_filled_and_the_words_are_known(tmp_path):
    first, second = read_templates(written(tmp_path, FILE))
    template, said = first.filled([" רותי\n", "מחר\tב-10:00"])
    assert template == Template("appointment_reminder", "he", ("רותי", "מחר ב-10:00"))
    assert said == "שלום רותי,\nנקבע לך תור ב־מחר ב-10:00. נתראה, רותי!"
    assert second.filled([]) == (Template(second.name, "en_US"), "Please call us.")


@pytest.mark.parametrize("values", [[], ["רותי"], ["רותי", " "], ["רותי", "מחר", "עוד"], ["רותי", "א" * 1100]])
def test_what_is_missing_or_too_long_is_not_sent(tmp_path, values):
    template = read_templates(written(tmp_path, FILE))[0]
    with pytest.raises(WrongValues):
        template.filled(values)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (("name: appointment_reminder", "name: תזכורת"), "ContentSid"),
        (("{{ 2 }}", "{{3}}"), "listed under places"),
        (("{{ 2 }}", "{{date}}"), "listed under places"),
        (("      - מועד\n", ""), "listed under places"),
        (("fill: name", "fill: age"), "is not known"),
        (("en_US", "English"), "as the carrier writes it"),
        (("name: HX0123456789abcdef0123456789abcdef", "name: appointment_reminder"), "twice"),
        (("    title: Call us\n", ""), "missing"),
        (("templates:", "template:"), "unknown field"),
        (("Please call us.", "a" * 1100), "longer than 1024"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, wrong, told):
    assert wrong[0] in FILE
    path = written(tmp_path, FILE.replace(*wrong))
    with pytest.raises(ProfileError, match=told) as error:
        read_templates(path)
    assert "templates.yaml, line" in str(error.value)
