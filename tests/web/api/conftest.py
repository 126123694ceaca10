"""The API on both databases."""

import pytest

from tests.web.conftest import _prepared, _quick_passwords, engine
from tests.web.desk_office import DeskOffice

__all__ = ["_prepared", "_quick_passwords", "engine"]


@pytest.fixture
def desk(engine, tmp_path):
    return DeskOffice(engine, tmp_path)
