"""Coming in, and staying out."""

import re
from datetime import timedelta
from itertools import pairwise

import pyotp
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from moked.crm import permissions
from moked.crm.access import Access, Refused
from moked.crm.models import UserAccount
from moked.crm.permissions import Permission, UserRole
from moked.crm.sealed import Sealer
from tests.web.desk_office import DATA_KEY, PASSWORD, DeskOffice


@pytest.fixture
def desk(engine, tmp_path):
    return DeskOffice(engine, tmp_path)


def login(web, email="dana@example.com", password=PASSWORD, **more):
    return web.post("/login", page="/login", email=email, password=password, **more)


# ---- first run


def test_the_first_run_link_opens_the_owners_account_once(desk):
    token = desk.setup.make()
    assert desk.setup.make() == token
    web = desk.browser()
    page = f"/setup?token={token}"
    assert web.get("/setup?token=wrong").status_code == 404
    fields = {"name": "דנה", "email": "Dana@Example.com ", "password": PASSWORD, "again": PASSWORD}
    for wrong in ({"again": "x"}, {"password": "short", "again": "short"}, {"email": "dana"}, {"name": " "}):
        assert web.post(page, page=page, **{**fields, **wrong}).status_code == 400
    assert not desk.access.anybody()
    assert web.post(page, page=page, **fields).location == "/login?told=set_up&next=/phone"
    assert web.get(page).status_code == 404
    assert login(web).location == "/board"
    assert web.get("/board").status_code == 200


def test_a_new_link_gives_an_owner_their_account_back(desk):
    desk.owner()
    secret = pyotp.random_base32()
    desk.access.turn_on_totp(desk.as_actor("dana@example.com"), PASSWORD, secret, pyotp.TOTP(secret).at(desk.now))
    before = desk.access.log_in("dana@example.com", PASSWORD, address="x", browser="")
    assert before.refusal == "code"
    page = f"/setup?token={desk.setup.make()}"
    web = desk.browser()
    web.post(page, page=page, name="דנה", email="dana@example.com", password="אחרת לגמרי", again="אחרת לגמרי")
    assert login(web, password=PASSWORD).status_code == 401
    assert login(web, password="אחרת לגמרי").location == "/board"


def test_a_link_grows_old(desk, monkeypatch):
    import time

    token = desk.setup.make()
    later = time.time() + 25 * 3600
    monkeypatch.setattr("moked.setup_link.time.time", lambda: later)
    assert not desk.setup.fits(token)
    assert not desk.setup.spend(token)
    monkeypatch.undo()
    assert desk.setup.spend(token)
    assert not desk.setup.spend(token)


# ---- login


def test_login_says_the_same_whatever_is_wrong(desk):
    desk.owner()
    web = desk.browser()
    wrong, unknown = login(web, password="לא נכון בכלל"), login(web, email="nobody@example.com")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert "הכתובת או הסיסמה אינן נכונות" in wrong.text
    assert re.findall('role="alert">([^<]*)', wrong.text) == re.findall('role="alert">([^<]*)', unknown.text)


def test_logins_are_limited_by_account_and_by_address(desk):
    desk.owner()
    for _ in range(5):
        assert login(desk.browser(), password="לא נכון בכלל").status_code == 401
    limited = login(desk.browser())
    assert limited.status_code == 429
    assert "רבע שעה" in limited.text
    desk.now += timedelta(minutes=16)
    assert login(desk.browser()).status_code == 302
    for number in range(20):
        login(desk.browser(), email=f"n{number}@example.com")
    assert login(desk.browser()).status_code == 429


def test_the_cookie_is_for_browsers_alone_and_secure_over_https(desk):
    desk.owner()
    cookie = login(desk.browser()).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    desk.base = "https://localhost"
    web = desk.browser()
    answer = login(web)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-moked_session=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    token = re.search("=([^;]+)", cookie)[1]
    web.client.set_cookie("__Host-moked_session", token, secure=True)
    assert web.get("/board").status_code == 200
    planted = desk.browser()
    planted.client.set_cookie("moked_session", token)  # a name that a neighbour under our domain could set
    assert planted.get("/board").status_code == 302


def test_a_session_ends_by_logout_idleness_age_and_closing(desk):
    owner = desk.owner()
    web = desk.browser("dana@example.com")
    assert web.get("/board").status_code == 200
    assert web.post("/logout").status_code == 302
    assert web.get("/board").status_code == 302
    web = desk.browser("dana@example.com")
    desk.now += timedelta(days=8)
    assert web.get("/board").status_code == 302
    web = desk.browser("dana@example.com")
    for _ in range(5):
        desk.now += timedelta(days=6)
        answer = web.get("/board").status_code
    assert answer == 302  # in use every week, but a month old
    agent = desk.person(UserRole.AGENT, owner)
    web = desk.browser(agent)
    user = next(user for user in desk.access.users(desk.business) if user.email == agent)
    desk.access.change_user(owner, user.id, role=UserRole.AGENT, active=False)
    assert web.get("/board").status_code == 302
    assert login(desk.browser(), email=agent).status_code == 401


def test_sessions_are_listed_and_revoked(desk):
    desk.owner()
    here, there = desk.browser("dana@example.com"), desk.browser("dana@example.com")
    assert here.get("/account").text.count('name="session"') == 2  # the first is of `owner`
    here.post("/account/sessions")
    assert there.get("/board").status_code == 302
    assert here.get("/board").status_code == 200
    third = desk.browser("dana@example.com")
    number = re.search(r'name="session" value="(\d+)"', here.get("/account").text)[1]
    here.post("/account/sessions", session=number)
    assert third.get("/board").status_code == 302


def test_nobody_ends_anothers_session(desk):
    owner = desk.owner()
    agent = desk.browser(desk.person(UserRole.AGENT, owner))
    agent.post("/account/sessions", session=str(owner.session_id))
    assert len(desk.access.sessions(owner)) == 1


def test_a_password_change_needs_the_old_one_and_ends_other_sessions(desk):
    desk.owner()
    web, other = desk.browser("dana@example.com"), desk.browser("dana@example.com")
    new = {"password": "סיסמה חדשה לגמרי", "again": "סיסמה חדשה לגמרי"}
    assert "הסיסמה הנוכחית" in web.post("/account/password", old="לא זאת", **new).text
    assert web.post("/account/password", old=PASSWORD, **{**new, "again": "x"}).status_code == 400
    assert web.post("/account/password", old=PASSWORD, **new).location == "/account?told=password"
    assert web.get("/board").status_code == 200
    assert other.get("/board").status_code == 302
    for _ in range(5):
        refused = web.post("/account/password", old="ניחוש", **new)
    assert "יותר מדי ניסיונות" in web.post("/account/password", old="ניחוש", **new).text
    assert refused.status_code == 400


def test_two_step_login_with_codes_that_are_good_once(desk):
    desk.owner()
    web = desk.browser("dana@example.com")
    secret = re.search(r'name="secret" value="(\w+)"', web.get("/account").text)[1]
    app = pyotp.TOTP(secret)
    assert web.post("/account/totp", on="1", secret=secret, old=PASSWORD, code="000").status_code == 400
    assert web.post("/account/totp", on="1", secret=secret, old="לא", code=app.at(desk.now)).status_code == 400
    page = web.post("/account/totp", on="1", secret=secret, old=PASSWORD, code=app.at(desk.now)).text
    codes = re.findall(r"<code[^>]*>(\w{5}-\w{5})</code>", page)
    assert len(codes) == 10
    (row,) = desk.access.users(desk.business)
    assert row.totp_secret == ""
    assert secret.encode() not in row.totp_sealed
    assert "קוד אימות" in login(desk.browser()).text
    assert login(desk.browser(), code=app.at(desk.now)).status_code == 401  # used when it was turned on
    desk.now += timedelta(seconds=30)
    assert login(desk.browser(), code=app.at(desk.now)).status_code == 302
    assert login(desk.browser(), code=app.at(desk.now)).status_code == 401
    assert login(desk.browser(), code=codes[0].upper()).status_code == 302
    assert login(desk.browser(), code=codes[0]).status_code == 401
    assert web.post("/account/totp", old=PASSWORD).location == "/account?told=totp_off"
    assert login(desk.browser()).status_code == 302


def test_a_second_factor_that_was_stored_plain_is_sealed_at_the_start(desk):
    desk.owner()
    secret = pyotp.random_base32()
    with Session(desk.engine) as session, session.begin():
        session.execute(update(UserAccount).values(totp_secret=secret))
    desk.now += timedelta(seconds=30)
    assert login(desk.browser()).status_code == 200  # the code is asked for, sealed or not
    desk.access.seal_secrets()
    assert desk.access.users(desk.business)[0].totp_secret == ""
    assert login(desk.browser(), code=pyotp.TOTP(secret).at(desk.now)).status_code == 302


def test_another_key_is_followed_and_a_lost_one_leaves_recovery_codes(desk):
    me = desk.owner()
    secret = pyotp.random_base32()
    codes = desk.access.turn_on_totp(me, PASSWORD, secret, pyotp.TOTP(secret).at(desk.now))
    desk.now += timedelta(seconds=30)

    def entered(code, *keys):
        access = Access(desk.engine, sealer=Sealer(*keys), clock=lambda: desk.now)
        return bool(access.log_in("dana@example.com", PASSWORD, code, address="x", browser="").token)

    old, new = DATA_KEY, bytes(range(32))
    assert entered(pyotp.TOTP(secret).at(desk.now), new, old)
    desk.now += timedelta(seconds=30)
    assert entered(pyotp.TOTP(secret).at(desk.now), new)  # it was sealed anew
    desk.now += timedelta(seconds=30)
    assert not entered(pyotp.TOTP(secret).at(desk.now), old)
    assert entered(codes[0], old)


# ---- invitations and accounts


def test_an_invitation_sets_a_password_once(desk):
    desk.owner()
    web = desk.browser("dana@example.com")
    page = web.post("/users", email="new@example.com", name="חדשה", role="agent").text
    link = re.search(r'id="invitation">http://localhost(/join\?token=[^<]+)<', page)[1]
    desk.base = "https://localhost"  # a proxy ends https before us
    web.client.set_cookie("__Host-moked_session", desk.token("dana@example.com"))
    again = web.post(f"/users/{desk.access.users(desk.business)[-1].id}/link").text
    assert 'id="invitation">https://localhost/join?token=' in again
    desk.base = "http://localhost"
    link = re.search(r'id="invitation">https?://localhost(/join\?token=[^<]+)<', again)[1]
    assert web.post("/users", email="NEW@example.com", name="שוב", role="agent").status_code == 400
    assert login(desk.browser(), email="new@example.com", password="").status_code == 401
    guest = desk.browser()
    assert "new@example.com" in guest.get(link).text
    assert guest.post(link, page=link, password="קצר", again="קצר").status_code == 400
    assert guest.post(link, page=link, password=PASSWORD, again=PASSWORD).status_code == 302
    assert guest.get(link).status_code == 404
    assert guest.post(link, page="/login", password=PASSWORD, again=PASSWORD).status_code == 404
    assert login(guest, email="new@example.com").status_code == 302


def test_an_invitation_grows_old(desk):
    token = desk.access.invite(desk.owner(), "new@example.com", "חדשה", UserRole.VIEWER)
    desk.now += timedelta(days=4)
    with pytest.raises(Refused, match="link"):
        desk.access.accept(token, PASSWORD)


def test_the_last_owner_stays(desk):
    owner = desk.owner()
    web = desk.browser("dana@example.com")
    assert "הבעלים הפעיל האחרון" in web.post(f"/users/{owner.user_id}", role="viewer", active="1").text
    assert web.post(f"/users/{owner.user_id}", role="owner").status_code == 400
    desk.access.invite(owner, "second@example.com", "שנייה", UserRole.OWNER)  # who is not in yet is no owner to rely on
    assert web.post(f"/users/{owner.user_id}", role="viewer", active="1").status_code == 400
    desk.person(UserRole.OWNER, owner)
    assert web.post(f"/users/{owner.user_id}", role="viewer", active="1").status_code == 302


def test_what_was_done_is_on_record(desk):
    owner = desk.owner()
    desk.person(UserRole.AGENT, owner)
    rows, last = desk.access.audit_log(desk.business)
    assert [row.action for row in rows][::-1] == ["user.set_up", "user.logged_in", "user.invited", "user.password_set"]
    assert (last, rows[-1].who) == (1, "דנה כהן")


# ---- forms


def test_a_change_must_come_from_our_own_form(desk):
    desk.owner()
    web = desk.browser("dana@example.com")
    csrf = re.search(r'name="csrf" content="([^"]+)"', web.get("/account").text)[1]
    theirs = re.search(r'name="csrf" content="([^"]+)"', desk.browser("dana@example.com").get("/account").text)[1]

    def send(token, origin="http://localhost"):
        headers = {"Origin": origin} if origin else {}
        return web.client.post("/account/sessions", data={"csrf": token}, headers=headers).status_code

    assert send("") == 400
    assert send(theirs) == 400
    assert send(csrf, "https://evil.example") == 400
    assert send(csrf, "null") == 400
    assert send(csrf) == 302
    assert send(csrf, "") == 302


def test_login_forms_are_guarded_before_there_is_a_session(desk):
    desk.owner()
    web = desk.browser()
    assert web.client.post("/login", data={"email": "dana@example.com", "password": PASSWORD}).status_code == 400
    assert login(web).status_code == 302


def test_preferences_are_cookies_and_lead_back_to_us_alone(desk):
    web = desk.browser()
    answer = web.post("/preferences", page="/login", language="en", next="/login?next=/leads")
    assert answer.location == "/login?next=/leads"
    assert 'dir="ltr"' in web.get("/login").text
    web.post("/preferences", page="/login", theme="dark")
    assert 'data-theme="dark"' in web.get("/login").text
    assert web.post("/preferences", page="/login", language="xx").status_code == 400
    for evil in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert web.post("/preferences", page="/login", theme="", next=evil).location == "/board"
    desk.owner()
    assert (
        web.post("/login?next=//evil.example", page="/login", email="dana@example.com", password=PASSWORD).location
        == "/board"
    )


# ---- roles; what each reaches is in `test_routes.py`


def test_roles_include_one_another():
    allowed = [
        permissions.ALLOWED[role] for role in (UserRole.VIEWER, UserRole.AGENT, UserRole.MANAGER, UserRole.OWNER)
    ]
    assert all(less < more for less, more in pairwise(allowed))
    assert permissions.ALLOWED.keys() == set(UserRole)
    assert allowed[-1] == set(Permission)
