"""Fixtures for all tests."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The asyncio backend: it is what the product runs on."""
    return "asyncio"
