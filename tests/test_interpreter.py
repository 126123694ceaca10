import gc
import sys

from moked import interpreter


def test_what_is_loaded_is_not_looked_at_by_the_collector_again():
    interval = sys.getswitchinterval()
    try:
        interpreter.settle()
        assert gc.get_freeze_count() > 10_000
        assert sys.getswitchinterval() == interpreter.SWITCH_INTERVAL_S
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)
