"""A furnished office for tests of the desk: people of every role, calls with their leads, and the neighbour's."""

import re
from datetime import UTC, datetime, timedelta

from moked.channels import BAILEYS, Address, Inbound, Kind, Report, SendResult, SendState
from moked.crm.access import Access
from moked.crm.desk import Desk
from moked.crm.edits import Edits
from moked.crm.inbox import Inbox
from moked.crm.inbox_desk import InboxDesk
from moked.crm.permissions import UserRole
from moked.crm.service import Crm
from moked.records import CallEnd, CallStart, FieldSource, LeadDraft, Outcome, Segment, ToolUse, TurnRecord, Waterfall
from moked.setup_link import SetupLink
from moked.web import DeskParts, WebParts, create_app

BASE = "http://localhost"
PASSWORD = "סיסמה ארוכה מאוד"
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)  # a Sunday


class DeskOffice:
    """The web plane with its desk on `engine`, at a time of its own."""

    def __init__(self, engine, data_dir, base=BASE):
        self.now = NOW
        self.engine = engine
        self.crm = Crm(engine, clock=lambda: self.now)
        self.access = Access(engine, clock=lambda: self.now)
        self.desk = Desk(engine, clock=lambda: self.now)
        self.edits = Edits(engine, clock=lambda: self.now)
        self.inbox = Inbox(engine, clock=lambda: self.now)
        self.changed = []
        self.inbox_desk = InboxDesk(
            engine, clock=lambda: self.now, changed=lambda business, conversation: self.changed.append(conversation)
        )
        self.setup = SetupLink(data_dir)
        self.business = self.crm.ensure_business("מזגנים בצפון")
        self.base = base
        self.app = self.build()

    def build(self):
        parts = WebParts(
            crm=self.crm,
            business_id=self.business,
            business_name="מזגנים בצפון",
            auth_token="secret",
            public_base_url=lambda: self.base,
            desk=DeskParts(
                access=self.access, desk=self.desk, edits=self.edits, setup=self.setup, inbox=self.inbox_desk
            ),
        )
        return create_app(parts)

    def owner(self, email="dana@example.com", business=None, name="דנה כהן"):
        self.access.set_up_owner(business or self.business, email, name, PASSWORD)
        return self.as_actor(email)

    def person(self, role, by):
        """Somebody with this role, who accepted their invitation."""
        email = f"{role.value}@example.com"
        self.access.accept(self.access.invite(by, email, f"נועם {role.value}", role), PASSWORD)
        return email

    def as_actor(self, email):
        return self.access.actor(self.token(email))

    def token(self, email, code=""):
        return self.access.log_in(email, PASSWORD, code, address="127.0.0.1", browser="test").token

    def browser(self, email=None):
        """A client, logged in as `email`."""
        client = Browser(self.app)
        if email:
            client.client.set_cookie("moked_session", self.token(email))
        return client

    def writes(self, text, phone="+972502345678", name="רותי לוי", *, id=None, business=None, ago=timedelta(0), **more):
        """A message that came `ago`; returns its conversation's id."""
        later, self.now = self.now, self.now - ago
        self.written = getattr(self, "written", 0) + 1
        came = Inbound(
            BAILEYS, "", id or f"3A{self.written}", Address("pn", phone), self.now, name=name, text=text, **more
        )
        stored = self.inbox.receive(business or self.business, came)
        self.now = later
        return stored.conversation_id

    def answers(self, *texts, agent=None, draft=None, person=False, ago=timedelta(0)):
        """What the agent writes to whoever waits."""
        later, self.now = self.now, self.now - ago
        for wanted in self.inbox.waiting(self.business, quiet_for=timedelta(0)):
            assert self.inbox.answered(wanted, texts, agent, draft, person)
        self.now = later

    def call(self, sid, caller, draft=None, *, outcome=Outcome.COMPLETED, turns=(), business=None, ago=timedelta(0)):
        """A whole call that ended `ago`; returns what it left."""
        later, self.now = self.now, self.now - ago
        self.crm.open_call(CallStart(sid, "AC1", caller, "+97235551234"), business or self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid)
        for turn in turns:
            self.crm.add_turn(sid, turn)
        left = self.crm.finish_call(CallEnd(sid, outcome, "agent_hangup", 125_000, draft or LeadDraft(), ("google",)))
        self.now = later
        return left


def turns():
    """A greeting, an exchange with a tool, and one the caller cut."""
    fall = Waterfall(5000, 4900, 5450, 5600, 5800, 5850, 6100)
    return (
        TurnRecord(0, "", "שלום, הגעתם למזגנים בצפון.", "שלום, הגעתם למזגנים בצפון.", False, 0, 2500),
        TurnRecord(
            1, "המזגן בסלון מטפטף, קוראים לי רותי לוי", "תודה רותי. מתי נוח שנחזור?", "תודה רותי. מתי נוח שנחזור?",
            False, 3000, 8000, "google", 0.93, waterfall=fall,
            tools=(ToolUse("save_lead", '{"name":"רותי לוי"}', "ok", True, 3),),
        ),
        TurnRecord(
            2, "<b>מחר</b> אחרי ארבע", "מצוין, נחזור מחר אחרי ארבע. יום טוב.", "מצוין, נחזור", True, 9000, 12000,
            "google", 0.88, waterfall=Waterfall(11000, 11100, 11550, 11700, 11950, 11990, 12300),
        ),
    )  # fmt: skip


def draft(name="רותי לוי", need="המזגן בסלון מטפטף", best_time="מחר אחרי ארבע", **more):
    sources = {
        "name": FieldSource(1, "קוראים לי רותי לוי", 0.93, {"google": "רותי לוי", "whisper": "רוטי לוי"}),
        "need": FieldSource(1, "המזגן בסלון מטפטף", 0.9),
    }
    return LeadDraft(name=name, need=need, best_time=best_time, sources=sources, **more)


PEOPLE = (
    ("רותי לוי", "המזגן בסלון מטפטף", "+972502345678"),
    ("אבי מזרחי", "התקנת מזגן מיני מרכזי בדירה חדשה בחיפה, ארבעה חדרים, יש כבר תשתית חשמל", "+972524445566"),
    ("סבטלנה גורביץ׳", "טיפול שנתי למזגן", "+972541112233"),
    ("מוחמד עאבד", "הצעת מחיר לשלושה מזגנים", "+97246667788"),
    ("יעל בן־דוד", "רעש חזק מהיחידה החיצונית", "+972587776655"),
)


def furnish(office):
    """Calls of all kinds over the last days, with leads in several stages; returns the leads' ids."""
    ids = []
    for number, (name, need, phone) in enumerate(PEOPLE):
        left = office.call(
            f"CA{number}", phone, draft(name, need, extra={"עיר": "חיפה"}), turns=turns(),
            ago=timedelta(hours=3 * number, minutes=7),
        )  # fmt: skip
        ids.append(left.lead_id)
    office.crm.store_transcript("CA0", [Segment(3000, 5000, "caller", "המזגן בסלון מטפטף", "whisper")])
    office.call("CA90", "+972509998877", outcome=Outcome.BROKEN, ago=timedelta(days=1))
    office.call("CA91", "anonymous", outcome=Outcome.CALLER_HUNG_UP, ago=timedelta(days=1, hours=2))
    office.crm.open_call(CallStart("CA92", "AC1", "+972505550000", "+97235551234"), office.business)
    office.crm.redeem_ticket(office.crm.mint_ticket("CA92"), "CA92")
    return ids


def chatter(office):
    """Conversations of all kinds; returns the id of the one with most in it."""
    office.writes("שלחו לי הצעת מחיר בבקשה", "+972541112233", "סבטלנה גורביץ׳", ago=timedelta(days=1, hours=2))
    office.answers("שלום סבטלנה, באיזו עיר ההתקנה?", ago=timedelta(days=1, hours=2))
    office.writes("אפשר לדבר עם מישהו?", "+972587776655", "יעל בן־דוד", ago=timedelta(hours=5))
    office.answers("בשמחה, מישהו ימשיך כאן.", person=True, ago=timedelta(hours=5))
    talk = office.writes("היי", ago=timedelta(minutes=9))
    office.answers("שלום, הגעתם למזגנים בצפון, מדבר העוזר הדיגיטלי. במה אפשר לעזור?", ago=timedelta(minutes=9))
    office.writes("המזגן בסלון מטפטף כבר יומיים, ואין לי מושג מה לעשות 😕", ago=timedelta(minutes=8), kind=Kind.VOICE)
    office.answers(
        "מצטער לשמוע. אפשר לשלוח טכנאי:\n• היום אחרי 16:00\n• מחר בבוקר\nמה מתאים?",
        ago=timedelta(minutes=7),
        draft=draft(),
    )
    for told in (SendState.SENT, SendState.READ):
        for message in office.inbox.to_send(office.business, [BAILEYS]):
            office.inbox.sent(message, SendResult(SendState.SENT, message.out.key))
            office.inbox.reported(office.business, Report(BAILEYS, message.out.key, told))
    office.writes("מחר בבוקר, תודה!", ago=timedelta(minutes=2))
    office.answers("רשמתי. נתראה מחר.", draft=draft())
    (message,) = office.inbox.to_send(office.business, [BAILEYS])
    office.inbox.sent(message, SendResult(SendState.FAILED, error="reachout_limited"))
    return talk


class Browser:
    """Sends forms with the token that their page carries, as a browser does."""

    def __init__(self, app):
        self.client = app.test_client()

    def get(self, path, **more):
        return self.client.get(path, headers={"Accept": "text/html", **more.pop("headers", {})}, **more)

    def post(self, path, page="/account", **fields):
        found = re.search(r'name="csrf" content="([^"]+)"', self.get(page).text)
        form = {"csrf": found[1], **{name.rstrip("_"): value for name, value in fields.items()}}
        return self.client.post(path, data=form, headers={"Accept": "text/html", "Origin": "http://localhost"})


ROLES = tuple(UserRole)
