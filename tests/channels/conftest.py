"""Channels are tested against servers that speak their wire, with records on both databases."""

import pytest

from tests.channels.whatsapp_server import WhatsAppServer, installed_bridge
from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]


@pytest.fixture(scope="session")
def bridge():
    return installed_bridge()


@pytest.fixture
def whatsapp(bridge):
    server = WhatsAppServer(bridge)
    yield server
    server.close()
