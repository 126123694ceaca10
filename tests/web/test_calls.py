"""The report over HTTP."""

from moked.records import CallEnd, LeadDraft, Outcome


def test_a_report_is_404_until_known_then_grows_until_it_is_final(office):
    unknown = office.get("/api/calls/CA1")
    assert unknown.status_code == 404
    assert unknown.json["error"] == "unknown_call"
    office.post("incoming_call")
    assert office.get("/api/calls/CA1").json["ended"] is False
    office.crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "agent_hangup", 5, LeadDraft(name="דנה", need="מזגן")))
    report = office.get("/api/calls/CA1").json
    assert (report["ended"], report["lead"]["name"]) == (True, "דנה")


def test_it_is_only_for_who_holds_the_token(office):
    office.post("incoming_call")
    assert office.client().get("/api/calls/CA1").status_code == 403
    assert office.get("/api/calls/bad.sid").status_code == 404
