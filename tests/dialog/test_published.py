"""What is published is read together, and told wrong by key and place."""

import ast
from pathlib import Path

import pytest

from moked.dialog.business import load_business
from moked.dialog.ownerfile import plain, written
from moked.dialog.published import AgentTexts, Part, check_prompt, files_of, packaged_prompt, read_agent, system_prompt
from moked.errors import ProfileError
from moked.web.desk import words

FILES = files_of(None, None)


def test_the_files_are_read_as_before():
    plan = read_agent(FILES)
    assert plan.business == load_business()
    assert [step.slot for step in plan.script.steps][-1] == "summary"
    assert plan.business.name in system_prompt(plan.business, plan.prompt)


def test_a_profile_is_the_same_after_the_form_has_written_it():
    again = FILES.with_part(Part.PROFILE, written(plain(FILES.profile, "profile")))
    assert read_agent(again).business == read_agent(FILES).business


def test_lines_end_as_on_unix_whatever_a_browser_sends():
    assert AgentTexts("a", "b", "c").with_part(Part.PROMPT, "x\r\ny\rz").prompt == "x\ny\nz"


@pytest.mark.parametrize(
    ("part", "text", "key", "path", "line"),
    [
        (Part.PROFILE, "name: א\nhours: {}\n", "missing", "", 1),
        (Part.PROFILE, 'name: א\ngreeting: "שלום, בוט."\nhours:\n  sunday: "8 to 5"\n', "hours", "hours.sunday", 4),
        (Part.PROFILE, "name: [א", "yaml", "", 1),
        (Part.PROFILE, "", "empty", "", 0),
        (Part.SCRIPT, 'steps:\n  - asks: need\n    say: "מה קרה"\n', "sentence_end", "steps[1].say", 3),
        (Part.SCRIPT, 'lines:\n  goodbye: "להתראות, {who}."\n', "variable", "lines.goodbye", 2),
        (Part.PROMPT, "רק תהיו נחמדים", "no_facts", "", 0),
        (Part.PROMPT, "{facts}\n{secret}", "variable", "", 2),
    ],
)
def test_what_is_wrong_has_a_key_and_a_place(part, text, key, path, line):
    with pytest.raises(ProfileError) as caught:
        read_agent(FILES.with_part(part, text))
    assert (caught.value.key, caught.value.path, caught.value.line) == (key, path, line)


def test_a_prompt_has_an_end():
    check_prompt(packaged_prompt())
    with pytest.raises(ProfileError):
        check_prompt("{facts}" + "x" * 20_000)


def problem_keys():
    """Every key and the values it is told with, from the source itself."""
    found = {}
    folder = Path(__file__).parents[2] / "src" / "moked" / "dialog"
    for name in ("ownerfile.py", "business.py", "scriptfile.py", "published.py"):
        for node in ast.walk(ast.parse((folder / name).read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            what = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if what in ("fail", "ProfileError") and len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
                values = {keyword.arg for keyword in node.keywords} - {"line", "path"}
                found.setdefault(node.args[1].value, set()).update(values)
    return found


def test_every_problem_has_words_in_each_language():
    keys = problem_keys()
    assert len(keys) > 30
    for language in words.LANGUAGES:
        for key, values in keys.items():
            text = words.say(language, f"problem.{key}", **dict.fromkeys(values, "x"))
            assert text
