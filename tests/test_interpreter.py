import gc
import sys

from moked import interpreter


def test_what_is_loaded_is_not_looked_at_by_the_collector_again():
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    try:
        interpreter.settle()
        assert gc.get_freeze_count() > 10_000
        assert sys.getswitchinterval() == interpreter.SWITCH_INTERVAL_S
        assert gc.isenabled()
        assert gc.get_threshold() == (*thresholds[:2], interpreter.ROUNDS)
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval)
