"""Channels are tested against servers that speak their wire, with records on both databases."""

import pytest

from tests.channels.whatsapp_server import WhatsAppServer, certificate, installed_bridge
from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]


@pytest.fixture(scope="session")
def bridge():
    return installed_bridge()


@pytest.fixture(scope="session")
def secure(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("media"))


@pytest.fixture
def whatsapp(bridge, secure):
    server = WhatsAppServer(bridge, secure)
    yield server
    server.close()
