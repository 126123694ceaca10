"""Records are tested on both databases."""

from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]
