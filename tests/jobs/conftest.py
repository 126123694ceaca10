"""Jobs on both databases."""

from tests.web.conftest import _prepared, _quick_passwords, engine

__all__ = ["_prepared", "_quick_passwords", "engine"]
