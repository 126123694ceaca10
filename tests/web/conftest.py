"""The web plane on both databases."""

import pytest
from argon2 import PasswordHasher

from moked.crm import passwords
from moked.crm.places import NodeReport
from moked.crm.service import Crm
from moked.telephony import sign
from moked.web import WebParts, create_app
from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]

BASE = "https://phone.example.com"
TOKEN = "secret"


class Office:
    """A running web plane and the carrier that calls it."""

    def __init__(self, engine):
        self.engine = engine
        self.crm = Crm(engine)
        self.counted = []
        self.options = {}
        self.node = {}
        self.business = self.crm.ensure_business("מזגנים בצפון")

    def client(self):
        parts = WebParts(
            crm=self.crm,
            business_id=self.business,
            count=lambda event, reason: self.counted.append((event, reason)),
            **{
                "auth_token": TOKEN,
                "public_base_url": lambda: BASE,
                "business_name": "מזגנים בצפון",
                "here": self.here,
                **self.options,
            },
        )
        return create_app(parts).test_client()

    def here(self):
        return NodeReport("here", "wss://phone.example.com/media/twilio", **{"capacity": 9, **self.node})

    def post(self, name, **fields):
        """A webhook as Twilio sends it."""
        form = {"CallSid": "CA1", "AccountSid": "AC1", "From": "+972501234567", "To": "+97235551234", **fields}
        path = name.removeprefix(BASE) if name.startswith(BASE) else f"/webhook/{name}"
        headers = {"X-Twilio-Signature": sign(TOKEN, BASE + path, form)}
        return self.client().post(path, data=form, headers=headers)

    def get(self, path):
        return self.client().get(path, headers={"X-Twilio-Signature": sign(TOKEN, BASE + path, {})})


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch):
    """Checking a password is slow on purpose; what it costs is looked at in `tests/crm/test_passwords.py`."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def office(engine):
    return Office(engine)
