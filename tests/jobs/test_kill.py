"""kill -9 at steps of the work after a call. Every place is in `bench/after_call_kill.py`; this runs a part of it."""

import pytest

from bench.after_call_kill import PLACES, run
from tests.databases import KINDS, postgres_schema

PLACES_HERE = (
    ("began", "after"),
    ("read", "after"),
    ("notice", "before"),
    ("notice", "after"),
    ("announce", "after"),
    ("follow_up", "after"),
    ("closed", "after"),
    ("relay", "after"),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_are_killed_anywhere_do_everything_once(kind, tmp_path):
    """Two at a time; each that dies is followed by another."""
    assert set(PLACES_HERE) <= set(PLACES)
    if kind == "sqlite":
        done = run(f"sqlite:///{tmp_path}/moked.db", tmp_path, PLACES_HERE, workers=2)
    else:
        with postgres_schema() as url:
            done = run(url, tmp_path, PLACES_HERE, workers=2)
    assert done["killed"] == len(PLACES_HERE)
    assert done["sent_again_with_the_same_key"] >= 3, "what was sent before it was on record went out again"
