"""Metrics: rendered, bounded, and the event loop's lag measured."""

import anyio
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from moked import metrics
from tests.virtual_time import VIRTUAL_TIME


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


def _counter():
    return metrics.Words("t", "t", ["reason"], registry=CollectorRegistry())


def _values(counter):
    return {sample.labels["reason"] for family in counter.collect() for sample in family.samples}


def test_render_is_what_prometheus_reads():
    metrics.calls.labels("completed").inc()
    body, content_type = metrics.render()
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert {"moked_calls", "moked_calls_active", "moked_turn_response_seconds", "process_open_fds"} <= names
    assert content_type.startswith("text/plain")


@pytest.mark.parametrize("value", ["+972501234567", "0501234567", "שלום", "", "a b", "x" * 60])
def test_a_label_is_a_word(value):
    counter = _counter()
    counter.labels(value).inc()
    assert _values(counter) == {"other"}


def test_labels_are_bounded():
    counter = _counter()
    for number in range(1000):
        counter.labels(reason=f"r{number}").inc()
    assert len(_values(counter)) == metrics.MAX_LABEL_SETS + 1
    assert counter.labels("other")._value.get() == 1000 - metrics.MAX_LABEL_SETS


def test_lag_peaks_and_is_forgotten():
    lag = metrics.LoopLag(window_s=5)
    lag.note(0, 0.001)
    lag.note(1, 0.2)
    lag.note(3, 0.002)
    assert lag.peak_s == 0.2
    lag.note(6, 0.001)
    assert lag.peak_s == 0.002


async def test_an_idle_loop_has_no_lag():
    lag = metrics.LoopLag()  # the process's own has seen other tests
    with anyio.move_on_after(10):
        await lag.watch(0.1)
    assert lag.peak_s == pytest.approx(0)
