"""The architecture's dependency rules, read from the source itself. Nothing is imported or run.

1. A pure file uses the standard library, numpy, msgspec and other pure files: no async, no clock, no log, no I/O.
2. Each vendor SDK is imported in one file.
3. The environment is read in `settings.py`; only top-level modules (composition roots) import the settings.
4. `media`, `web` and `jobs` never import one another.
5. The product never imports emulators, tests or benches.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "moked"

# Every pure file, and what it may import besides the standard library, numpy, msgspec and other pure files.
PURE: dict[str, set[str]] = {
    "audio.py": set(),
    "errors.py": set(),
    "pressure.py": set(),
    "records.py": set(),
    "crm/extraction.py": set(),
    "channels/optin.py": set(),
    "channels/optout.py": set(),
    "channels/policy.py": set(),
    "channels/rules.py": set(),
    "channels/wishes.py": set(),
    "crm/campaigns.py": set(),
    "sockets.py": set(),
    "crm/costs.py": set(),
    "crm/figures.py": set(),
    "channels/bridge_wire.py": set(),
    "channels/carrier_codes.py": set(),
    "channels/disconnects.py": set(),
    "channels/official_webhooks.py": set(),
    "channels/orders.py": set(),
    "crm/finding.py": set(),
    "crm/followups.py": set(),
    "crm/csv_files.py": set(),
    "crm/lead_fields.py": set(),
    "crm/leads.py": set(),
    "crm/number_runs.py": set(),
    "crm/permissions.py": set(),
    "crm/phone.py": {"phonenumbers"},
    "crm/places.py": set(),
    "crm/retries.py": set(),
    "crm/privacy_rules.py": set(),
    "crm/recordings_port.py": set(),
    "crm/signing.py": set(),
    "crm/holydays.py": {"holidays"},
    "crm/workdays.py": set(),
    "crm/hidden_words.py": set(),
    "crm/live_words.py": set(),
    "crm/redaction.py": set(),
    "dialog/endings.py": set(),
    "dialog/addresses.py": set(),
    "dialog/corrections.py": set(),
    "dialog/details.py": set(),
    "dialog/gazetteer.py": set(),
    "dialog/disagreement.py": set(),
    "dialog/history.py": set(),
    "dialog/hours.py": set(),
    "dialog/identity.py": set(),
    "dialog/intake_state.py": set(),
    "dialog/moments.py": set(),
    "dialog/names.py": set(),
    "dialog/numbers.py": set(),
    "dialog/plate.py": set(),
    "dialog/refusals.py": set(),
    "dialog/second_hearing.py": set(),
    "dialog/slots.py": set(),
    "dialog/spoken_digits.py": set(),
    "dialog/spoken_phone.py": set(),
    "dialog/time_words.py": set(),
    "dialog/words.py": set(),
    "media/echo.py": set(),
    "media/endpoint.py": set(),
    "media/filler.py": set(),
    "media/machine.py": set(),
    "media/person.py": set(),
    "media/playout.py": set(),
    "media/snapshot.py": set(),
    "media/speech.py": set(),
    "media/tap.py": set(),
    "media/turns.py": set(),
    "media/twilio.py": set(),
    "media/wakeup.py": set(),
    "recording/container.py": set(),
    "recording/timeline.py": set(),
    "rollout/compare.py": set(),
    "rollout/guard.py": set(),
    "rollout/policy.py": set(),
    "rollout/requests.py": set(),
    "simulate/echo.py": set(),
    "simulate/labels.py": set(),
    "simulate/measure.py": set(),
    "simulate/scenario.py": set(),
    "simulate/twiml.py": set(),
    "simulate/wire.py": set(),
    "stt/agreement.py": set(),
    "stt/cuts.py": set(),
    "stt/digit_ear.py": set(),
    "stt/failover.py": set(),
    "stt/fairqueue.py": set(),
    "stt/google_rules.py": set(),
    "stt/tape.py": set(),
    "stt/transcripts.py": set(),
    "stt/word_times.py": set(),
    "stt/uplink.py": set(),
    "stt/wer.py": set(),
    "stt/whisper_filter.py": set(),
    "transcript_files.py": set(),
    "tts/clauses.py": set(),
    "tts/hebrew.py": set(),
    "tts/lexicon.py": set(),
    "tts/numerals.py": set(),
    "tts/respell.py": set(),
    "tts/pronounce.py": set(),
    "web/api/cursors.py": set(),
    "web/api/limits.py": set(),
    "web/api/openapi.py": {"pydantic"},
    "web/api/problems.py": set(),
    "web/desk/charts.py": set(),
    "web/desk/hearing_words.py": set(),
    "web/desk/profile_form.py": set(),
    "web/desk/show.py": set(),
    "web/desk/textdiff.py": set(),
    "web/desk/wav.py": set(),
    "web/ics.py": set(),
}

# Ports hold plain values and protocols; pure files may use their values.
PORTS = {
    "channels/__init__.py",
    "stt/__init__.py",
    "tts/__init__.py",
    "dialog/__init__.py",
    "jobs/__init__.py",
}

SDK_FILES: dict[str, set[str]] = {
    "alembic": {"crm/db.py"},
    "argon2": {"crm/passwords.py"},
    "av": {"recordings.py"},
    "cryptography": {"crm/sealed.py"},
    "dbos": {"jobs/engine.py"},
    "dotenv": {"settings.py"},
    "faster_whisper": {"stt/whisper_child.py"},
    "google.cloud.speech": {"stt/google_messages.py", "stt/google_wire.py"},
    "google.cloud.speech_v1": {"stt/google_messages.py", "stt/google_wire.py"},
    "google.cloud.speech_v2": {"stt/google_messages.py"},
    "google.cloud.texttospeech": {"tts/google.py"},
    "google.cloud.texttospeech_v1": {"tts/google.py"},
    "holidays": {"crm/holydays.py"},
    "obstore": {"recording/s3.py"},
    "onnxruntime": {"media/vad.py", "tts/kokoro_child.py"},
    "phonenumbers": {"crm/phone.py"},
    "prometheus_client": {"metrics.py"},
    "pydantic_settings": {"settings.py"},
    "pyotp": {"crm/passwords.py"},
    "redis": {"bus.py"},
    "smtplib": {"channels/smtp.py"},
    "segno": {"crm/passwords.py", "web/desk/inbox.py"},
    "twilio": {"telephony.py"},
    "xlsxwriter": {"crm/exporting.py"},
    "websockets": {"channels/bridge_link.py", "media/frames.py", "simulate/media.py"},
}

# Alembic's own scripts, which it runs itself.
SCRIPTS = "crm/migrations/"

_NOT_PURE = {"asyncio", "http", "logging", "multiprocessing", "os", "queue", "selectors", "shutil", "signal", "socket"}
_NOT_PURE |= {"ssl", "subprocess", "tempfile", "threading", "time", "urllib.request", "contextvars"}
_PLANES = ("media", "web", "jobs")


def _files() -> dict[str, ast.Module]:
    found = {path.relative_to(SRC).as_posix(): path for path in sorted(SRC.rglob("*.py"))}
    return {name: ast.parse(path.read_text("utf-8")) for name, path in found.items() if not name.startswith(SCRIPTS)}


FILES = _files()


def _imports(tree: ast.Module) -> set[str]:
    """Dotted names of everything imported, at any depth; `from a import b` gives both a and a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _is_under(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _module(file: str) -> str:
    return "moked." + file.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")


MODULES = {_module(file) for file in FILES}
PACKAGES = {"moked"} | {_module(file) for file in FILES if file.endswith("/__init__.py") and file not in PORTS}


def _is_one_of(name: str, modules: set[str]) -> bool:
    """Whether `name` is one of `modules` or something in it; a module inside a package is not something in it."""
    return name in modules or (name not in MODULES and name.rpartition(".")[0] in modules)


def impurities(tree: ast.Module, extra: set[str]) -> Iterator[str]:
    """What a pure file must not have."""
    ours = {_module(file) for file in (*PURE, *PORTS)}
    for name in sorted(_imports(tree)):
        top = name.partition(".")[0]
        if top == "moked":
            # `from moked.media import turns` gives the package too; the dotted form beside it is what counts.
            if not _is_one_of(name, ours) and name not in PACKAGES:
                yield f"imports {name}"
        elif _is_under(name, *_NOT_PURE) or (
            top not in sys.stdlib_module_names and not _is_under(name, "numpy", "msgspec", *extra)
        ):
            yield f"imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield f"line {node.lineno}: async"
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}:
            owner = ast.unparse(node.value)
            if owner.rpartition(".")[2] in {"datetime", "date"}:
                yield f"line {node.lineno}: {owner}.{node.attr}"
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"open", "print", "input"}
        ):
            yield f"line {node.lineno}: {node.func.id}()"


def environment_uses(tree: ast.Module) -> Iterator[str]:
    names = {"environ", "environb", "getenv"}  # a child may set its own (`putenv`)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) == "os":
            yield f"line {node.lineno}: os.{node.attr}"
    yield from (name for name in _imports(tree) if name in {f"os.{attribute}" for attribute in names})


@pytest.mark.parametrize("file", PURE)
def test_a_pure_file_is_pure(file: str) -> None:
    assert file in FILES, "the table names a file that is gone"
    assert list(impurities(FILES[file], PURE[file])) == []


def test_ports_are_plain() -> None:
    for file in PORTS:
        allowed = {_module(name) for name in (*PURE, *PORTS)} | PACKAGES
        foreign = {name for name in _imports(FILES[file]) if name.partition(".")[0] not in sys.stdlib_module_names}
        assert {name for name in foreign if not _is_one_of(name, allowed)} == set()


@pytest.mark.parametrize("sdk", SDK_FILES)
def test_an_sdk_is_imported_in_its_file_alone(sdk: str) -> None:
    users = {file for file, tree in FILES.items() if any(_is_under(name, sdk) for name in _imports(tree))}
    assert users <= SDK_FILES[sdk]


def test_the_environment_is_read_in_one_file() -> None:
    assert {file: list(environment_uses(tree)) for file, tree in FILES.items() if [*environment_uses(tree)]}.keys() <= {
        "settings.py"
    }


def test_only_top_level_modules_import_the_settings() -> None:
    users = {file for file, tree in FILES.items() if any(_is_under(n, "moked.settings") for n in _imports(tree))}
    assert {file for file in users if "/" in file} == set()


@pytest.mark.parametrize("plane", _PLANES)
def test_planes_do_not_import_one_another(plane: str) -> None:
    others = [f"moked.{other}" for other in _PLANES if other != plane]
    for file, tree in FILES.items():
        if file.startswith(f"{plane}/"):
            assert {name for name in _imports(tree) if _is_under(name, *others)} == set(), file


def sends(tree: ast.Module) -> Iterator[str]:
    """Calls of a channel's `send`: of something that is called a channel, or with an `Outbound`."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "send"):
            continue
        if "channel" in ast.unparse(node.func.value).lower():
            yield f"line {node.lineno}: {ast.unparse(node.func)}"
        elif any(
            "outbound" in ast.unparse(given).lower() or ast.unparse(given).endswith(".out") for given in node.args
        ):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def test_messages_leave_by_one_door_behind_the_gate() -> None:
    """Nothing sends but the loop that `crm.sending` gives what its gate let through."""
    assert {file for file, tree in FILES.items() if [*sends(tree)]} == {"jobs/sending.py"}
    makers = {
        file
        for file, tree in FILES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Outbound"
    }
    assert makers == {"crm/sending.py"}


def test_the_product_does_not_import_its_tests() -> None:
    for file, tree in FILES.items():
        assert {name for name in _imports(tree) if _is_under(name, "emulators", "tests", "bench")} == set(), file


# --- the rules themselves catch what they should --------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "from time import monotonic",
        "import logging",
        "import anyio",
        "import moked.bus",
        "from moked import log",
        "from moked.stt import relay",
        "def f():\n    import socket",
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import date\nx = date.today()",
        "async def f(): ...",
        "x = open('f')",
        "import urllib.request",
    ],
)
def test_impurity_is_seen(code: str) -> None:
    assert list(impurities(ast.parse(code), set()))


@pytest.mark.parametrize("code", ["channel.send(x)", "self._channels['sms'].send(m)", "it.send(Outbound('k', a, 't'))"])
def test_a_send_around_the_gate_is_seen(code: str) -> None:
    assert list(sends(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nimport msgspec\nfrom dataclasses import dataclass\nfrom datetime import datetime",
        "from moked.errors import ProviderError\nfrom moked.stt import Final\nfrom moked import audio",
        "def f(now: int) -> int:\n    return now",
    ],
)
def test_purity_is_let_through(code: str) -> None:
    assert list(impurities(ast.parse(code), set())) == []


@pytest.mark.parametrize("code", ["import os\nos.environ['X']", "from os import getenv", "import os\nos.getenv('X')"])
def test_reading_the_environment_is_seen(code: str) -> None:
    assert list(environment_uses(ast.parse(code)))


def test_nice_and_a_child_environment_are_fine() -> None:
    assert not list(environment_uses(ast.parse("import os, subprocess\nos.nice(5)\nsubprocess.run([], env={})")))
