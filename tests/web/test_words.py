"""The desk's words: complete in every language, and all that the pages ask for."""

import re
from pathlib import Path

import pytest

from moked.crm.after import AfterCalls
from moked.crm.inbox_desk import Order
from moked.crm.leads import NoLead, Origin, Stage
from moked.crm.permissions import UserRole
from moked.crm.retries import CODES
from moked.crm.tables_jobs import JobState
from moked.jobs import after_call
from moked.records import Outcome
from moked.web.desk import words

DESK = Path(words.__file__).parents[1]
TEMPLATES = sorted((DESK / "templates").rglob("*.html"))


def _blanks(text):
    return sorted(re.findall(r"{(\w+)}", text))


def test_every_language_has_the_same_keys_and_blanks():
    hebrew = words.catalogue("he")
    for language in words.LANGUAGES:
        other = words.catalogue(language)
        assert list(other) == list(hebrew)
        assert all(other.values())
        assert {key: _blanks(text) for key, text in other.items()} == {key: _blanks(hebrew[key]) for key in hebrew}


def test_hebrew_is_hebrew_and_english_is_english():
    assert all(re.search("[א-ת]", text) for key, text in words.catalogue("he").items() if key != "language.en")
    assert not any(re.search("[א-ת]", text) for key, text in words.catalogue("en").items() if key != "language.he")


def test_what_pages_and_views_ask_for_is_there_and_nothing_else():
    asked, groups = set(), {"theme.", "day.", "weekday."}
    for path in (*TEMPLATES, *DESK.glob("*.py")):
        text = path.read_text("utf-8")
        asked |= set(re.findall(r"""["']([a-z_]+(?:\.[a-z_0-9]+)*)["']""", text))
        groups |= set(re.findall(r"""["']([a-z_]+\.(?:[a-z_]+\.)?)["'] ~""", text))
        groups |= set(re.findall(r'f"([a-z_]+\.(?:[a-z_]+\.)?)\{', text))
    unused = {key for key in words.catalogue("he") if key not in asked and not key.startswith(tuple(groups))}
    assert unused == set()
    calls = {key for path in TEMPLATES for key in re.findall(r'\bt\("([^"]+)"[,)]', path.read_text("utf-8"))}
    assert {key for key in calls if not key.endswith(".")} <= set(words.catalogue("he"))


@pytest.mark.parametrize(("group", "members"), [("stage", Stage), ("origin", Origin), ("outcome", Outcome),
                                                ("no_lead", NoLead), ("role", UserRole)])  # fmt: skip
def test_every_member_has_a_word(group, members):
    assert {f"{group}.{member.value}" for member in members} <= set(words.catalogue("he"))


def test_all_work_after_calls_has_words(engine):
    known = set(words.catalogue("he"))
    assert {f"jobs.reason.{code}" for code in CODES} <= known
    assert {f"jobs.state.{state.value}" for state in JobState} <= known
    for work in after_call.work(AfterCalls(engine), after_call.Parts()):
        assert {f"jobs.name.{work.name}", *(f"jobs.step.{step.name}" for step in work.steps)} <= known


def test_styles_and_pages_use_no_left_and_right():
    physical = re.compile(r"(?<![\w-])(?:m[lr]|p[lr]|left|right|border-[lr]|rounded-[lr]|text-(?:left|right))-?[\d[]")
    for path in TEMPLATES:
        assert not physical.search(path.read_text("utf-8")), path.name
    assert not re.search(r"(margin|padding|border)-(left|right)", (DESK.parents[3] / "front/desk.css").read_text())


def test_every_action_on_record_has_words():
    crm = DESK.parents[1] / "crm"
    actions = set()
    kinds = "user|session|lead|task|contact|key|webhook|job|message|consent|outreach|registry|call|campaign|agent|inbox"
    for path in crm.glob("*.py"):
        actions |= set(re.findall(rf'audit\.note\([^)]*?"((?:{kinds})\.[a-z_]+)"', path.read_text("utf-8")))
    actions |= {f"channel.{order.value}" for order in Order}
    assert len(actions) > 15
    assert {f"audit.{action}" for action in actions} <= set(words.catalogue("he"))
