"""How calls are heard, over HTTP."""

import pytest

from moked.crm.rollouts import Rollouts
from moked.telephony import sign
from tests.web.conftest import BASE, TOKEN


@pytest.fixture
def api(office, engine):
    told = []
    office.options = {"rollouts": Rollouts(engine, office.business), "rollout_changed": lambda: told.append(1)}

    def send(method, path="", **fields):
        url = "/api/rollout" + path
        fields = {name.rstrip("_"): value for name, value in fields.items()}
        headers = {"X-Twilio-Signature": sign(TOKEN, BASE + url, fields)}
        return office.client().open(url, method=method, data=fields or None, headers=headers)

    send.told = told
    return send


def test_it_is_shown_changed_and_remembered(api):
    assert api("GET").json["now"] == "streaming is on for all calls (ENABLE_STREAMING_STT)"
    changed = api("PUT", streaming="off", percent="30", why="slow", by="dana")
    assert changed.status_code == 200
    assert changed.json["share"]["streaming_percent"] == 70
    assert api("POST", streaming="on", number="+972501234567", for_="2h").json["numbers"][0]["streaming"] is True
    assert api("POST", shadow="5").json["shadow_percent"] == 5
    assert api("DELETE", "/numbers/+972501234567").json["numbers"] == []
    assert api("POST", rollback="true").json["share"]["rollback"] is True
    assert len(api.told) == 5
    changes = api("GET", "/history").json["changes"]
    assert [one["by"] for one in changes] == ["api", "api", "api", "api", "api:dana"]
    assert changes[-1]["why"] == "slow"
    assert api("GET").json["last_change"]["what"] == "streaming off for all calls (rollback)"


def test_a_report(api):
    assert api("GET", "/report").json["shadow"]["calls"] == 0
    assert api("GET", "/report?since=7d&examples=1").json["since_s"] == 7 * 86_400
    assert api("GET", "/report?since=x").status_code == 400


def test_what_makes_no_sense(api):
    refused = api("PUT", streaming="perhaps")
    assert (refused.status_code, refused.json["error"]) == (400, "bad_request")
    assert "on nor off" in refused.json["message"]
    assert api("DELETE", "/numbers/+972501234567").status_code == 404
    assert api("DELETE", "/numbers/5").status_code == 400
    assert api.told == []


@pytest.mark.parametrize("path", ["", "/history", "/report"])
def test_it_is_only_for_who_holds_the_token(office, api, path):
    assert office.client().get("/api/rollout" + path).status_code == 403


def test_a_change_needs_the_signature_over_its_fields(office, api):
    headers = {"X-Twilio-Signature": sign(TOKEN, BASE + "/api/rollout", {"streaming": "on"})}
    client = office.client()
    assert client.put("/api/rollout", data={"streaming": "off"}, headers=headers).status_code == 403
    assert client.put("/api/rollout", data={"streaming": "on"}, headers=headers).status_code == 200
    assert client.delete("/api/rollout/numbers/+972501234567").status_code == 403
