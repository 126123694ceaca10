"""Who reaches what: every route and method of the whole server, for every role, for nobody, and for keys.

The tables say it all over again, on purpose: a new route fails here until somebody has written down whom it is for.
"""

import re

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from moked import asgi
from moked.bus import MemoryBus
from moked.crm.permissions import ALLOWED, SCOPES, Permission, UserRole
from moked.telephony import sign
from moked.web import create_app
from tests.web.desk_office import DeskOffice, furnish

PAGES = """
everybody    GET / | GET POST /login /setup /join | POST /preferences | GET /static/<path:name>
everybody    GET /api/v1/openapi.json /api/v1/docs
signed       GET /api/calls/<sid>
signed       GET PUT POST /api/rollout | DELETE /api/rollout/numbers/<number>
signed       GET /api/rollout/history /api/rollout/report
signed       POST /webhook/incoming_call /webhook/callback_request /webhook/resume /webhook/after_stream
signed       POST /webhook/dial_result /webhook/voicemail /webhook/call_status /webhook/stream_status
signed       POST /webhook/outbound /webhook/outbound_amd /webhook/outbound_status /webhook/bridge /webhook/bridge_done
signed       POST /webhook/held /webhook/brief /webhook/choice /webhook/instruction /webhook/owner_status
view         GET /board /leads /leads/board /leads/<int:lead_id> /contacts /contacts/<int:contact_id>
view         GET /calls /calls/<sid> /tasks /search /board/figures /wall /messages
view         GET /campaigns /campaigns/<int:campaign_id> | POST /leads/views /leads/views/<int:view_id>/remove
phone        GET /phone | POST /phone/calls /phone/calls/<sid>/next /phone/calls/<sid>/over
listen       POST /calls/<sid>/listen
whisper      POST /calls/<sid>/whisper
take_over    POST /calls/<sid>/take-over
transfer     POST /calls/<sid>/transfer
end_call     POST /calls/<sid>/end
listen_recording GET /calls/<sid>/recording.wav /calls/<sid>/peaks.json
edit         POST /leads/<int:lead_id>/move /leads/<int:lead_id>/field /leads/<int:lead_id>/notes
edit         POST /leads/<int:lead_id>/tasks /contacts/<int:contact_id>/name /tasks/<int:task_id>/done
edit         POST /leads/<int:lead_id>/value /leads/<int:lead_id>/tags /contacts /contacts/<int:contact_id>/phones
edit         POST /contacts/<int:contact_id>/notes /merges/<int:merge_id>/undo
edit         GET POST /contacts/<int:contact_id>/merge
edit         POST /contacts/<int:contact_id>/consent /contacts/<int:contact_id>/removal
edit         POST /contacts/<int:contact_id>/call /contacts/<int:contact_id>/agent_call
edit         POST /tasks/<int:task_id>/snooze /tasks/<int:task_id>/assignee
view         GET /inbox /inbox/<int:conversation_id>
edit         POST /inbox/<int:conversation_id>/seen /inbox/<int:conversation_id>/take
edit         POST /inbox/<int:conversation_id>/hand_back /inbox/<int:conversation_id>/send
edit         POST /inbox/<int:conversation_id>/template
channels     GET /channels | POST /channels/whatsapp
assign       POST /leads/<int:lead_id>/owner
setup        GET /leads/setup | POST /leads/setup/fields /leads/setup/fields/<int:field_id>/remove /leads/setup/reasons
files        GET POST /contacts/import /export | GET /contacts/import/<int:job_id> /export/<int:job_id>
files        POST /contacts/import/<int:job_id>/columns /contacts/import/<int:job_id>/apply
files        POST /contacts/import/<int:job_id>/undo /contacts/import/<int:job_id>/drop
outreach     GET POST /outreach /campaigns/new | POST /outreach/registry /campaigns/<int:campaign_id>/run
outreach     POST /messages/<int:message_id>/approve /messages/<int:message_id>/refuse /dials/<int:dial_id>/approve
analytics    GET /analytics /analytics.csv
settings     GET /settings /settings/pronunciation/listen /settings/numbers /settings/hearing
settings     GET POST /settings/business /settings/pronunciation /settings/script /settings/prompt
settings     GET POST /settings/<any(profile,script,prompt):part>/versions/<int:version> /settings/rehearsal
settings     POST /settings/rehearsal/publish /settings/rehearsal/say
rollout      POST /settings/hearing /settings/hearing/number
jobs         GET /jobs | POST /jobs/<int:job_id>/retry
privacy      GET POST /privacy | POST /privacy/purge /leads/<int:lead_id>/sealed
privacy      GET /contacts/<int:contact_id>/privacy | POST /contacts/<int:contact_id>/export
privacy      POST /contacts/<int:contact_id>/hold /contacts/<int:contact_id>/erase
audit        GET /audit
users        GET POST /users | POST /users/<int:user_id> /users/<int:user_id>/link
calendar     GET POST /account/calendar | POST /account/calendar/<int:key_id>/revoke | GET /tasks.ics
self         GET /account | POST /account/password /account/totp /account/sessions /logout
integrations GET POST /keys /webhooks /webhooks/<int:endpoint_id> | POST /keys/<int:key_id>/revoke
integrations POST /webhooks/deliveries/<int:delivery_id>/replay
"""

API = """
view         GET /me /users /leads /leads/<int:lead_id> /contacts /contacts/<int:contact_id> /calls /calls/<sid>
view         GET /tasks /tasks/<int:task_id> /rollout /rollout/history /rollout/report
view         GET /lead-fields /lost-reasons /tags /views /users/<int:user_id> /contacts/<int:contact_id>/consents
calendar     GET /calendar.ics
setup        POST /lead-fields | DELETE /lead-fields/<int:field_id> | PUT /lost-reasons
users        POST /users | PATCH /users/<int:user_id> | PUT /users/<int:user_id>/link
edit         POST /leads /contacts /contacts/<int:contact_id>/phones /contacts/<int:contact_id>/notes
edit         POST /contacts/<int:contact_id>/merge /merges/<int:merge_id>/undo /contacts/<int:contact_id>/consents
edit         POST /tasks/<int:task_id>/snooze | PUT /tasks/<int:task_id>/assignee /leads/<int:lead_id>/tags
edit         PUT /contacts/<int:contact_id>/do-not-contact
edit         PATCH /leads/<int:lead_id> /contacts/<int:contact_id> /tasks/<int:task_id>
edit         POST /leads/<int:lead_id>/move /leads/<int:lead_id>/notes /leads/<int:lead_id>/tasks
assign       PUT /leads/<int:lead_id>/owner
audit        GET /audit
rollout      POST /rollout | DELETE /rollout/numbers/<number>
integrations GET POST /webhooks | GET PATCH DELETE /webhooks/<int:endpoint_id>
integrations GET /webhooks/<int:endpoint_id>/secret /webhooks/<int:endpoint_id>/deliveries
integrations GET /webhook-deliveries/<int:delivery_id> | POST /webhook-deliveries/<int:delivery_id>/replay
integrations POST /webhooks/<int:endpoint_id>/rotate /webhooks/<int:endpoint_id>/ping /webhooks/<int:endpoint_id>/replay
"""

FRONT = """
everybody    GET /healthz /readyz /metrics
signed       GET /calls/{call_sid}/events
view         GET /board/events
"""


def read(table):
    """(method, path) -> whom it is for."""
    found = {}
    for line in table.strip().splitlines():
        who, rest = line.split(None, 1)
        for group in rest.split("|"):
            words = group.split()
            methods = [word for word in words if not word.startswith("/")]
            for path in (word for word in words if word.startswith("/")):
                for method in methods:
                    assert (method, path) not in found, path
                    found[method, path] = who
    return found


class Server:
    """The whole server, furnished."""

    def __init__(self, engine, folder):
        self.desk = DeskOffice(engine, folder)
        self.owner = self.desk.owner()
        self.leads = furnish(self.desk)
        hook = self.desk.hooks.add(self.owner, "https://x.example/", "x", ["lead.created"])
        self.desk.access.invite(self.owner, "x@example.com", "x", UserRole.VIEWER)
        self.desk.keys.make(self.owner, "x", {Permission.VIEW}, None)
        self.values = {
            "lead_id": self.leads[0], "contact_id": self.desk.desk.contact_list(self.desk.business).rows[0].id,
            "task_id": self.desk.desk.task_list(self.desk.business).rows[0].id, "sid": "CA0", "name": "desk.css",
            "user_id": next(one.id for one in self.desk.access.users(self.desk.business) if one.name == "x"),
            "endpoint_id": hook.id, "delivery_id": self.desk.hooks.ping(self.owner, hook.id),
            "conversation_id": self.desk.writes("שלום"),
            "key_id": self.desk.keys.all(self.desk.business)[0][0].id, "number": "+972501234567",
            "part": "profile", "version": 1,
            **dict.fromkeys(
                ("view_id", "merge_id", "field_id", "job_id", "message_id", "campaign_id", "dial_id"), 999_999
            ),
        }  # fmt: skip

    def path(self, path):
        return re.sub(r"<(?:[^:<>]+:)?(\w+)>", lambda found: str(self.values[found[1]]), path)


@pytest.fixture
def server(engine, tmp_path):
    return Server(engine, tmp_path)


def everything(app):
    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            yield method, rule.rule


def test_the_tables_have_every_route_and_no_other(server):
    api = {(method, f"/api/v1{path}") for method, path in read(API)}
    assert set(everything(server.desk.app)) == set(read(PAGES)) | api
    assert {who for table in (PAGES, API, FRONT) for who in read(table).values()} <= {
        "everybody", "signed", *(one.value for one in Permission),
    }  # fmt: skip


def test_every_page_says_what_the_table_says(server):
    for rule in server.desk.app.url_map.iter_rules():
        if rule.endpoint.startswith("desk."):
            needed = getattr(server.desk.app.view_functions[rule.endpoint], "needed", None)
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                assert str(needed) == read(PAGES)[method, rule.rule], rule.rule
    for operation in server.desk.app.extensions["moked_api"]:
        assert operation.needs.value == read(API)[operation.method, operation.path]


@pytest.mark.parametrize("role", [None, *UserRole])
def test_a_role_reaches_its_pages_and_nothing_else(server, role):
    email = None
    if role is not None:
        email = "dana@example.com" if role is UserRole.OWNER else server.desk.person(role, server.owner)
    web = server.desk.browser(email)
    last = [("POST", f"/contacts/<int:contact_id>/{one}") for one in ("merge", "erase")]
    last += [("POST", "/account/sessions"), ("POST", "/logout")]
    for (method, path), who in sorted(read(PAGES).items(), key=lambda one: one[0] in last):
        if who in ("everybody", "signed"):
            continue
        there = server.path(path)
        answer = web.get(there) if method == "GET" else web.post(there, page="/account" if email else "/login")
        answer.close()
        if role is None:
            assert (answer.status_code, answer.location.partition("?")[0]) == (302, "/login"), (method, path)
        elif Permission(who) in ALLOWED[role]:
            assert answer.status_code not in (401, 403), (method, path)
            assert answer.status_code < 500, (method, path)
        else:
            assert answer.status_code == 403, (method, path)
            assert "אין לחשבון הזה הרשאה" in answer.text


def test_what_is_open_is_open_and_what_is_signed_is_not(server):
    web = server.desk.app.test_client()
    for (method, path), who in read(PAGES).items():
        there = server.path(path)
        if who == "everybody" and method == "GET":
            answer = web.get(there)
            assert answer.status_code in (200, 302, 404), path  # a link that is used up is not there
            answer.close()
        elif who == "signed":
            for headers in ({}, {"X-Twilio-Signature": "x"}):
                assert web.open(there, method=method, headers=headers).status_code == 403, path
            signed = {"X-Twilio-Signature": sign("secret", f"http://localhost{there}", {})}
            assert web.open(there, method=method, headers=signed).status_code != 403, path
    for cookie in ("", "x" * 43):  # a session of the desk signs nothing
        web.set_cookie("moked_session", cookie or server.desk.token("dana@example.com"))
        assert web.get("/api/calls/CA0").status_code == 403


@pytest.mark.parametrize("scope", [None, *sorted(SCOPES)])
def test_a_key_reaches_what_its_scope_says_and_nothing_else(server, scope):
    program = server.desk.program(server.owner, {scope}) if scope else server.desk.program(server.owner)
    if scope is None:
        program.token = ""
    last = ("DELETE", "/webhooks/<int:endpoint_id>")
    for (method, path), who in sorted(read(API).items(), key=lambda one: one[0] == last):
        answer = program(method, server.path(path), {} if method in ("POST", "PUT", "PATCH") else None)
        if scope is None:
            assert (answer.status_code, answer.json["code"]) == (401, "unauthenticated"), (method, path)
        elif scope.value == who:
            assert answer.status_code not in (401, 403), (method, path)
            assert answer.status_code < 500, (method, path)
        else:
            assert (answer.status_code, answer.json["code"]) == (403, "forbidden"), (method, path)


@pytest.mark.parametrize("role", list(UserRole))
def test_a_key_does_no_more_than_its_maker_by_now(server, role):
    maker = server.desk.as_actor(server.desk.person(UserRole.OWNER, server.owner))
    program = server.desk.program(maker)
    server.desk.access.change_user(server.owner, maker.user_id, role=role, active=True)
    for (method, path), who in read(API).items():
        answer = program(method, server.path(path), {} if method in ("POST", "PUT", "PATCH") else None)
        assert (answer.status_code == 403) == (Permission(who) not in ALLOWED[role]), (method, path)


# ---- the ASGI front


async def _status(app, path, cookie="", signature=""):
    """The status of a GET; the request is given up as soon as it is known."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "server": ("localhost", 80),
        "headers": [(b"cookie", f"moked_session={cookie}".encode()), (b"x-twilio-signature", signature.encode())],
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    found = []
    with anyio.CancelScope() as asked:

        async def send(message):
            if message["type"] == "http.response.start":
                found.append(message["status"])
                asked.cancel()

        async def receive():
            await anyio.sleep_forever()

        await app(scope, receive, send)
    return found[0]


async def test_the_front_serves_its_table_and_nothing_else(server, monkeypatch):
    routes_found = []

    class Listed(Starlette):
        def __init__(self, routes):
            routes_found.extend(routes)
            super().__init__(routes=routes)

    monkeypatch.setattr(asgi, "Starlette", Listed)
    bus = MemoryBus()
    app = asgi.build(
        ready=dict, flask=create_app(server.desk.parts()), bus=bus, board=bus, board_of=server.desk.access.board_of,
        events_allowed=lambda path, signature: signature == "good",
    )  # fmt: skip
    paths = {("GET", route.path) for route in routes_found if not isinstance(route, Mount)}
    assert paths == set(read(FRONT))
    for (_, path), who in read(FRONT).items():
        there = path.replace("{call_sid}", "CA0")
        nobody = await _status(app, there)
        match who:
            case "everybody":
                assert nobody == 200
            case "signed":
                assert (nobody, await _status(app, there, signature="good")) == (403, 200)
            case _:
                assert nobody == 401
                assert await _status(app, there, server.desk.token("dana@example.com")) == 200
    closed = []

    async def send(message):
        closed.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    for path in ("/media/twilio", "/board/events", "/"):
        await app({"type": "websocket", "path": path}, receive, send)
    assert [message["code"] for message in closed] == [1008] * 3
