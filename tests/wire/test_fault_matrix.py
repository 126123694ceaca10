"""A slice of `bench.fault_matrix`: every fault at some points of an utterance and around rotation, on real sockets."""

import pytest

from bench import fault_matrix
from bench.fault_matrix import FAULTS

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_no_fault_at_any_point_loses_or_doubles_a_word():
    whole = fault_matrix.cases(100)
    some = [case for number, case in enumerate(whole) if number % 17 == 0]
    assert {case.fault for case in some} == set(FAULTS)
    assert {case.second for case in some} == {"second", "utterances"}
    assert {(case.rotating, case.stream) for case in some} == {(False, 0), (True, 0), (True, 1)}
    assert min(sum(case.fault == fault for case in some) for fault in FAULTS) >= 8
    done = await fault_matrix.matrix(some, at_once=len(some))
    assert [one for one in done if one.lost or one.doubled] == []
    assert len(done) == len(some)
    moved = [one.case.fault for one in done if one.moves]
    assert set(FAULTS) - {"slow"} <= set(moved), "every fault was met"
