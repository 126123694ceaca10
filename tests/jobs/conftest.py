"""Work after calls is tested on both databases."""

from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]
