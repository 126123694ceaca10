"""The benches still run: calls succeed and every figure is there. How good the figures are is not asked here."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moked import weights

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not weights.available("silero-vad"), reason="`moked models install` brings the detector"),
]


@pytest.fixture(scope="module")
def bench(request, tmp_path_factory):
    """`bench(name)` is its result. Four run at a time: a bench of a few calls mostly waits."""
    wanted = [item.name.removeprefix("test_") for item in request.session.items if item.module is request.module]
    wanted.sort(key=lambda name: name != "migration")
    with ThreadPoolExecutor(4) as pool:
        results = {name: pool.submit(run, name, tmp_path_factory.mktemp(name)) for name in wanted}
        yield lambda name: results[name].result()


def run(name: str, out: Path) -> dict:
    command = [sys.executable, "-m", f"bench.{name}", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / f"{name}.json").read_text())


def test_latency(bench):
    result = bench("latency")
    assert result["ended"] == ["caller_hung_up"]
    assert result["unanswered"] == 0
    for figure in ("response", "greeting", "barge_in", "partials"):
        assert result[figure]["count"] > 0, figure
    assert all(one["count"] > 0 for one in result["waterfall"].values())


def test_density(bench):
    result = bench("density")
    assert [row["calls"] for row in result["levels"]] == [1, 3]
    for row in result["levels"]:
        assert row["failed"] == row["unanswered"] == 0
        assert row["added"]["count"] > 0
        assert row["server_cores"] > 0
        assert row["generator"]["loop_late_ms"]["count"] > 0


def test_barge_in(bench):
    result = bench("barge_in")
    assert (result["missed"], result["failed"]) == (0, 0)
    assert result["to_clear"]["no echo"]["count"] == result["to_clear"]["-20 dB"]["count"] == 1
    assert {"cough", "back-channel", "echo -20 dB"} <= set(result["false_alarms"])


def test_migration(bench):
    result = bench("migration")
    for scene, calls in (("restart", 3), ("kill", 2)):
        assert result[scene]["kept"] == result[scene]["calls"] == calls, result[scene]["not_kept"]
        assert result[scene]["moves"] == result[scene]["gap_ms"]["count"] > 0


def test_viewers(bench):
    result = bench("viewers")
    for half in ("alone", "watched"):
        (row,) = result[half]
        assert row["failed"] == row["unanswered"] == 0
        assert row["added"]["count"] > 0
    assert result["viewers"]["events"] > 0
    assert result["viewers"]["missed"] == result["viewers"]["resyncs"] == 0
    assert result["listeners"]["messages"] > 0


def test_partials(bench):
    result = bench("partials")
    assert [(row["debounce_ms"], row["calls"]) for row in result["rows"]] == [(180, 1), (180, 2), (0, 1), (0, 2)]
    for row in result["rows"]:
        assert row["failed"] == 0
        assert row["added_ms"]["count"] > 3
        assert row["cadence_ms"]["count"] > 0


def test_overload(bench):
    result = bench("overload")
    for row in (result["without"], result["overload"]):
        assert row["failed"] == row["lost_places"] == 0
        assert row["added"]["count"] > 0
    assert result["crowd"]["calls"] > 0
    assert (result["crowd"]["refused_percent"], result["crowd"]["polite_percent"]) == (100, 100)
