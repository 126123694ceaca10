"""What the documents must say, and what no file may say. `python -m tests.test_docs` writes the generated pages.

A setting, metric or error without its line in the reference fails here; so does a registry's host name, a path of
somebody's machine, or a URL in a lock.
"""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from moked import errors, metrics, settings
from moked.dialog import business, scriptfile

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"


def metrics_page() -> str:
    """The text of `docs/reference/metrics.md`, from the metrics themselves."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` answers in Prometheus' text format; the usual `process_*` and `python_*` are there too.",
        "Label values are fixed words, never numbers, names or texts of callers. This page is generated:",
        "`python -m tests.test_docs`.",
        "",
        "| Name | Type | Labels | Meaning |",
        "|---|---|---|---|",
    ]
    for metric in _own_metrics():
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines) + "\n"


def _own_metrics():
    found = {
        id(part): part for part in vars(metrics).values() if hasattr(part, "_labelnames") and hasattr(part, "describe")
    }
    return [part for part in found.values() if not isinstance(part, type)]


def errors_page() -> str:
    """The text of `docs/reference/errors.md`, from the error tree."""
    lines = [
        "# Errors",
        "",
        "Every error Moked raises on purpose has a stable code and a message for a person. Commands print",
        "`code: message` and end with status 2. This page is generated: `python -m tests.test_docs`.",
        "",
        "| Code | Class | Meaning |",
        "|---|---|---|",
    ]
    for error in _errors():
        lines.append(f"| `{error.code}` | `{error.__name__}` | {_MEANING[error.code]} |")
    lines += ["", "An error of a provider says how it failed:", "", "| Kind | Meaning |", "|---|---|"]
    source = (ROOT / "src" / "moked" / "errors.py").read_text("utf-8")
    for kind in errors.Failure:
        (meaning,) = re.findall(rf'^    {kind.name} = "{kind.value}"  # (.+)$', source, re.MULTILINE)
        lines.append(f"| `{kind.value}` | {meaning} |")
    return "\n".join(lines) + "\n"


_MEANING = {
    "moked": "The base of all; never raised itself.",
    "settings": "A setting is missing or wrong. The message names the variable and what would be right.",
    "profile": "The business profile or the script cannot be used. The message names the place in the file.",
    "model": "Model weights are absent or do not match their published hash. Run `moked models install`.",
    "recording": "A recording cannot be read. The message names the file, why, and what to do.",
    "seal": "A sealed value cannot be opened, or `DATA_KEY` is no key. With the key of before it can.",
    "provider": "An outside service failed; calls go on with the next engine where there is one.",
    "overloaded": "A bounded queue or the capacity for calls is full. Try again later.",
}


def _errors():
    found = [errors.MokedError]
    for error in found:
        found += error.__subclasses__()
    return [error for error in found if error.__module__ == "moked.errors"]


GENERATED = {
    ".env.example": settings.env_example,
    "docs/reference/settings.md": settings.reference,
    "docs/reference/metrics.md": metrics_page,
    "docs/reference/errors.md": errors_page,
}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_up_to_date(name):
    assert (ROOT / name).read_text("utf-8") == GENERATED[name](), f"run `python -m tests.test_docs` to write {name}"


def test_the_example_has_every_setting_and_nothing_else():
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    named = [match[1] for line in lines if (match := re.fullmatch(r"(?:# )?([A-Z_0-9]+)=.*", line))]
    assert named == [name.upper() for name in settings.Settings.model_fields]


def test_the_example_is_a_working_env_file(monkeypatch, tmp_path):
    """Copied as it is, it means the defaults."""
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    defaults = settings.load_settings()
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text("utf-8"), "utf-8")
    assert settings.load_settings() == defaults
    assert settings.load_settings().warnings == ()


def test_every_metric_error_and_setting_is_documented():
    pages = {name: (REFERENCE / f"{name}.md").read_text("utf-8") for name in ("settings", "metrics", "errors")}
    assert len(_own_metrics()) >= 19
    for metric in _own_metrics():
        assert f"`{metric._name}" in pages["metrics"]
    for error in _errors():
        assert f"`{error.code}`" in pages["errors"]
    for name in settings.Settings.model_fields:
        assert f"`{name.upper()}`" in pages["settings"]


# --- dependencies and links -----------------------------------------------------------------------------------------


def test_every_dependency_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lists = [project["project"]["dependencies"], project["build-system"]["requires"]]
    lists += [*project["project"]["optional-dependencies"].values(), *project["dependency-groups"].values()]
    wanted = {re.match(r"[A-Za-z0-9._-]+", entry)[0] for entries in lists for entry in entries}
    page = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text("utf-8")
    named = set(re.findall(r"`([^`]+)`", page))
    assert wanted - named == set(), "say in docs/decisions/0002-dependencies.md why it is needed"
    rows = {name for row in re.findall(r"^\| (`.+?) \|", page, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)}
    assert rows - wanted == set(), "these are explained and not used"


def _pages():
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in _pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            name, _, anchor = target.partition("#")
            if "://" in name:
                continue
            linked = (page.parent / name).resolve() if name else page
            if not linked.exists() or (anchor and anchor not in _anchors(linked)):
                broken.append((page.name, target))
    assert broken == []


def _anchors(page):
    """As GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_settings_that_pages_name_exist():
    """A shell-like `NAME=value` in a page is a setting of ours."""
    known = {name.upper() for name in settings.Settings.model_fields} | {"CI", "PYTHON"}
    for page in _pages():
        for name in re.findall(r"(?:^|[`\s\"])([A-Z][A-Z0-9_]{3,})=", page.read_text("utf-8"), re.MULTILINE):
            assert name in known, (page.name, name)


def test_the_examples_of_a_profile_and_a_script_can_be_used(tmp_path):
    page = (ROOT / "docs" / "howto" / "own-business.md").read_text("utf-8")
    profile, words = re.findall(r"^```yaml\n(.+?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "business.yaml").write_text(profile, "utf-8")
    (tmp_path / "script.yaml").write_text(words, "utf-8")
    shop = business.load_business(tmp_path / "business.yaml")
    made = scriptfile.load_script(tmp_path / "script.yaml", shop.voice_gender, shop.name)
    assert [step.id for step in made.steps] == [
        "need", "אחריות", "name", "כתובת", "מזגנים", "מועד", "דגם", "phone", "time", "summary",
    ]  # fmt: skip
    assert shop.pronunciation == (("תדיראן", "תַּדִּירָאן"),)
    (message,) = re.findall(r"^profile: business\.yaml, line \d+: (.+)$", page, re.MULTILINE)
    (tmp_path / "wrong.yaml").write_text('name: "א"\ngreeting: "ב"\nhours:\n  monday: "8 to 5"\n', "utf-8")
    with pytest.raises(errors.ProfileError, match=re.escape(message)):
        business.load_business(tmp_path / "wrong.yaml")


# --- what no file may say -------------------------------------------------------------------------------------------


def _files():
    """Text files that are, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in sorted(set(listed.stdout.decode().split("\0")) - {""}):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            yield name, data.decode("utf-8")


# Written in pieces, so that this file does not say them itself.
_REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npm" + "js", "npmjs" + ".com", "crates" + ".io")
_REGISTRIES += ("registry.yarn" + "pkg", "ghcr" + ".io", "docker" + ".io", "deb.debian" + ".org", "file:" + "///opt")
_PLACES = re.compile(
    r"(?<![\w.~})/-])/(?:" + "|".join(("ro" + "ot", "wo" + "rk", r"home/\w+", r"Users/\w+")) + r")(?:/|\b)"
)


def test_no_file_names_a_registry_host():
    assert [(name, host) for name, text in _files() for host in _REGISTRIES if host in text] == []


def test_no_file_names_a_place_on_a_machine():
    found = [(name, match[0]) for name, text in _files() for match in _PLACES.finditer(text)]
    assert found == []


def test_locks_hold_no_urls():
    locks = [(name, text) for name, text in _files() if name.startswith("locks/") or name.endswith(".lock")]
    assert len(locks) >= 3
    assert [
        name for name, text in locks if re.search(r"https?://|file:|--(?:extra-)?index-url|--find-links", text)
    ] == []


def test_every_locked_package_has_a_hash():
    for name, text in _files():
        if name.startswith("locks/") or name.endswith("weights.lock"):
            joined = text.replace("\\\n", " ")
            lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            assert [line for line in lines if "--hash=sha256:" not in line] == [], name


if __name__ == "__main__":
    for page, make in GENERATED.items():
        (ROOT / page).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / page).write_text(make(), "utf-8")
