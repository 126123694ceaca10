"""The bench of the desk's pages still builds the whole desk, and asks for pages that are there."""

import json
import subprocess
import sys

import pytest

from bench.desk import PAGES
from tests.bench.test_bench_quick import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]


def test_every_page_answers(tmp_path):
    command = [sys.executable, "-m", "bench.desk", "--contacts", "800", "--rounds", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "desk.json").read_text())
    assert told["pages"].keys() == set(PAGES)
