"""Businesses are strictly apart: whatever is asked of the API, another's rows answer as if they were not there."""

import re

import pytest
import schemathesis
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from moked.crm import passwords
from moked.crm.events import EVENTS
from moked.crm.lead_fields import FieldKind
from moked.crm.models import Base
from moked.crm.permissions import SCOPES
from tests.web.desk_office import DeskOffice, draft, furnish

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
)
FOREIGN = "סוד של השכנים"


def two_businesses(desk):
    """Ours, and the neighbours', whose every text says so."""
    desk.me = desk.owner()
    furnish(desk)
    desk.other = desk.crm.ensure_business(FOREIGN, key="neighbours")
    desk.theirs = desk.owner("nir@example.com", desk.other, f"ניר {FOREIGN}")
    for number in range(3):
        desk.call(f"NB{number}", f"+97252000000{number}", draft(FOREIGN, FOREIGN), business=desk.other)
    desk.edits.add_lead_field(desk.theirs, FOREIGN, FieldKind.TEXT, "")
    desk.edits.merge_contacts(
        desk.theirs, *(desk.edits.add_contact(desk.theirs, FOREIGN, f"052900000{n}")[0] for n in "12")
    )
    desk.keys.make(desk.theirs, FOREIGN, {scope for scope in SCOPES if desk.theirs.may(scope)}, None)
    for by, name in ((desk.me, "CRM"), (desk.theirs, FOREIGN)):
        made = desk.hooks.add(by, "https://crm.example.com/", name, EVENTS)
        desk.hooks.ping(by, made.id)
    desk.api = desk.program(desk.me)
    return desk


@pytest.fixture
def street(desk):
    return two_businesses(desk)


def everything_of(engine, business):
    """All rows of a business, as they are stored."""
    with Session(engine) as session:
        found = {}
        for table in Base.metadata.sorted_tables:
            if "business_id" in table.c:
                rows = session.execute(select(table).where(table.c.business_id == business)).all()
                found[table.name] = sorted(map(repr, rows))
        return found


def ids_of(engine, business):
    """Every id there is of a business, by the name of its table."""
    found = {}
    with Session(engine) as session:
        for table in Base.metadata.sorted_tables:
            if {"business_id", "id"} <= set(table.c.keys()):
                found[table.name] = list(session.scalars(select(table.c.id).where(table.c.business_id == business)))
        found["call_sid"] = list(
            session.scalars(text("SELECT sid FROM call WHERE business_id = :one"), {"one": business})
        )
    return found


BODIES = {
    "edit_lead": {"name": "x"}, "move_lead": {"stage": "won"}, "assign_lead": {"user_id": None},
    "note_lead": {"text": "x"}, "add_task": {"due_at": "2026-11-30T10:00:00Z"}, "edit_contact": {"name": "x"},
    "edit_task": {"done": True}, "change_rollout": {"rollback": True},
    "edit_webhook": {"active": False}, "tag_lead": {"tags": ["x"]}, "assign_task": {"user_id": None},
    "snooze_task": {"until": "2026-11-30T10:00:00Z"}, "add_phone": {"phone": "0521112233"},
    "note_contact": {"text": "x"}, "merge_contacts": {"contact_id": 1}, "edit_user": {"active": False},
    "give_consent": {"purpose": "service", "channel": "sms", "text": "x"},
}  # fmt: skip


def test_every_id_of_the_neighbours_is_as_if_absent(street):
    """Each operation with something in its path, with each of their ids, of whatever kind."""
    before, asked = everything_of(street.engine, street.other), 0
    theirs = ids_of(street.engine, street.other)
    assert {name for name, ids in theirs.items() if ids} >= {
        "lead",
        "contact",
        "task",
        "call",
        "user_account",
        "api_key",
        "lead_field",
        "contact_merge",
    }
    ours = ids_of(street.engine, street.business)
    for operation in street.app.extensions["moked_api"]:
        names = re.findall(r"<(?:(\w+):)?(\w+)>", operation.path)
        if not names:
            continue
        ((kind, name),) = names
        table = {"lead_id": "lead", "contact_id": "contact", "task_id": "task", "endpoint_id": "webhook_endpoint",
                 "delivery_id": "webhook_delivery", "user_id": "user_account", "field_id": "lead_field",
                 "merge_id": "contact_merge"}.get(name)  # fmt: skip
        if kind == "int":
            assert table, f"say which table {name} is of"
            values = set(theirs[table]) - set(ours[table])
        else:
            values = set(theirs["call_sid"]) if name == "sid" else {"+972520000000"}
        for value in values:
            path = re.sub("<.*>", str(value), operation.path)
            answer = street.api(operation.method, path, BODIES.get(operation.name) if operation.body else None)
            assert (answer.status_code, answer.json["code"]) == (404, "not_found"), (operation.name, value)
            asked += 1
    assert asked > 30
    assert everything_of(street.engine, street.other) == before


def test_their_people_are_nobody_here(street):
    lead = street.api.get("/leads?limit=1").json["items"][0]["id"]
    refused = street.api("PUT", f"/leads/{lead}/owner", {"user_id": street.theirs.user_id})
    assert refused.json["errors"][0]["where"] == "body.user_id"


def test_no_list_shows_theirs_whatever_it_is_asked_for(street):
    theirs = ids_of(street.engine, street.other)
    for operation in street.app.extensions["moked_api"]:
        if operation.method != "GET" or "<" in operation.path:
            continue
        tries = [""]
        fields = operation.query.model_fields if operation.query is not None else {}
        for name, table in (("contact_id", "contact"), ("lead_id", "lead"), ("owner", "user_account")):
            tries += [f"?{name}={value}" for value in theirs[table] if name in fields]
        tries += [f"?q={FOREIGN}"] if "q" in fields else []
        for query in tries:
            answer = street.api.get(operation.path + query)
            assert answer.status_code == 200, (operation.path, query, answer.text)
            assert FOREIGN not in answer.get_data(as_text=True), (operation.path, query)
            if query:  # of a list that can be asked
                assert answer.json["items"] == []


# ---- requests from the description itself, valid and broken


@pytest.fixture(scope="module")
def fuzzed(_prepared, tmp_path_factory):
    """One office for all of it: requests may change it as they like."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        desk = two_businesses(DeskOffice(_prepared, tmp_path_factory.mktemp("fuzz"), a_minute=10_000_000))
    yield desk
    with _prepared.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture(scope="module")
def schema(fuzzed):
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", fuzzed.app)


def test_generated_requests_break_nothing_and_answers_keep_to_the_description(fuzzed, schema):
    before = everything_of(fuzzed.engine, fuzzed.other)
    ours = ids_of(fuzzed.engine, fuzzed.business)
    known = {"lead_id": ours["lead"], "contact_id": ours["contact"], "task_id": ours["task"], "sid": ours["call_sid"],
             "endpoint_id": ours["webhook_endpoint"], "delivery_id": ours["webhook_delivery"],
             "field_id": ours["lead_field"]}  # fmt: skip
    said, tried = set(), 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode, examples in ((GenerationMode.POSITIVE, 6), (GenerationMode.NEGATIVE, 4)):

            @settings(max_examples=examples, database=None, deadline=None, derandomize=True,
                      suppress_health_check=list(HealthCheck))  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans(), data=st.data())
            def fuzz(case, real, data):
                nonlocal tried
                for name in case.path_parameters or {}:
                    if real and mode is GenerationMode.POSITIVE and known.get(name):  # noqa: B023  (run before the next)
                        case.path_parameters[name] = data.draw(st.sampled_from(known[name]))
                answer = case.call(headers={"Authorization": f"Bearer {fuzzed.api.token}"})
                case.validate_response(answer, checks=CHECKS)
                assert FOREIGN not in answer.text
                said.add(answer.status_code)
                tried += 1

            fuzz()
    assert tried > 100
    assert said >= {200, 404, 422}
    assert max(said) < 500
    assert everything_of(fuzzed.engine, fuzzed.other) == before
