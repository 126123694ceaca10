"""A furnished office for tests of the desk: people of every role, calls with their leads, and the neighbour's."""

import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import numpy as np

from moked.channels import BAILEYS, PHONE, Address, Inbound, Kind, MessageState, Report, SendResult
from moked.channels.baileys import BaileysChannel
from moked.crm.access import Access
from moked.crm.agent_versions import AgentVersions
from moked.crm.analytics import Analytics
from moked.crm.costs import Prices
from moked.crm.delivering import Sending
from moked.crm.edits import Edits
from moked.crm.erasure import Erasure
from moked.crm.hooks import Hooks
from moked.crm.inbox import Inbox
from moked.crm.inbox_desk import InboxDesk
from moked.crm.job_store import JobStore
from moked.crm.keys import Keys
from moked.crm.listing import Listing
from moked.crm.live import Live
from moked.crm.outreach import Outreach
from moked.crm.permissions import SCOPES, UserRole
from moked.crm.privacy_desk import PrivacyDesk
from moked.crm.rehearsals import Rehearsals
from moked.crm.retention import Retention
from moked.crm.rollouts import Rollouts
from moked.crm.sealed import Sealer
from moked.crm.sending import DEFAULT_RULES, Outbox
from moked.crm.service import Crm
from moked.dialog.published import files_of
from moked.dialog.script import ScriptAgents
from moked.erasing import Leftovers
from moked.recording.archive import Archive
from moked.records import (
    CallEnd,
    CallStart,
    Decision,
    FieldSource,
    LeadDraft,
    Outcome,
    Segment,
    ToolUse,
    TurnRecord,
    Waterfall,
)
from moked.rollout.guard import Limits
from moked.setup_link import SetupLink
from moked.web import AgentParts, ApiParts, DeskParts, PrivacyParts, WebParts, create_app
from moked.web.desk import wav

BASE = "http://localhost"
DATA_KEY = b"k" * 32
PASSWORD = "סיסמה ארוכה מאוד"
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)  # a Sunday


@asynccontextmanager
async def scripted(plan):
    """The scripted agent, as a rehearsal is given it."""
    yield ScriptAgents(plan.business, script=plan.script)


class Recording:
    """A recording in memory: two seconds in which the caller speaks, then the agent, again and again."""

    channels, sample_rate = 2, 8000

    def __init__(self, duration_ms):
        self.duration_ms = duration_ms
        at = np.arange(duration_ms * 8)
        tone = (np.sin(at * (2 * np.pi * 440 / 8000)) * 12000).astype("<i2")
        theirs = (at // 16000) % 2 == 0
        self._sides = np.where(theirs, tone, 0), np.where(theirs, 0, tone)
        samples = np.stack(self._sides, axis=1).astype("<i2").tobytes()
        self.data = wav.header(len(samples), 8000, 2) + samples
        self.size = len(self.data)

    def read(self, start, length):
        return self.data[start : start + length]

    def peaks(self, points):
        return tuple(
            [float(np.abs(part).max()) / 32768 for part in np.array_split(side, points)] for side in self._sides
        )


class Shelf:
    """Where recordings are, by business and call."""

    def __init__(self):
        self.kept = {}

    def find(self, business_id, call_sid):
        return self.kept.get((business_id, call_sid))


class DeskOffice:
    """The web plane with its desk on `engine`, at a time of its own."""

    def __init__(self, engine, data_dir, base=BASE, a_minute=100_000):
        self.a_minute = a_minute
        self.now = NOW
        self.engine = engine
        self.crm = Crm(engine, clock=lambda: self.now, sealer=Sealer(DATA_KEY))
        self.sealer = Sealer(DATA_KEY)
        self.access = Access(engine, sealer=self.sealer, clock=lambda: self.now)
        self.desk = Listing(engine, clock=lambda: self.now)
        self.keys = Keys(engine, clock=lambda: self.now)
        self.sending = Sending(engine, self.sealer, private=True)
        self.hooks = Hooks(engine, self.sealer, private=True, clock=lambda: self.now)
        self.edits = Edits(engine, clock=lambda: self.now)
        self.live = Live(engine, clock=lambda: self.now)
        self.jobs = JobStore(engine, clock=lambda: self.now)
        self.outreach = Outreach(engine, calls_from="+97235551234", clock=lambda: self.now)
        self.inbox = Inbox(engine, clock=lambda: self.now)
        self.changed = []
        self.rules, self.templates = dict(DEFAULT_RULES), {}
        self.inbox_desk = InboxDesk(
            engine,
            clock=lambda: self.now,
            changed=lambda business, conversation: self.changed.append(conversation),
            rules=self.rules,
            templates=self.templates,
        )
        self.setup = SetupLink(data_dir)
        self.privacy = self.privacy_parts(data_dir)
        self.business = self.crm.ensure_business("מזגנים בצפון")
        self.rollouts = Rollouts(engine, self.business, clock=lambda: self.now)
        self.versions = AgentVersions(engine, files_of(None, None), clock=lambda: self.now)
        self.published = []
        self.recordings = Shelf()
        self.agent = AgentParts(
            versions=self.versions,
            rehearsals=Rehearsals(engine, clock=lambda: self.now),
            make=scripted,
            published=lambda: self.published.append(self.versions.version(self.business)),
            speak=lambda text: b"\x10" * 800,
        )
        self.base = base
        self.app = self.build()

    def privacy_parts(self, data_dir):
        sealer = Sealer(DATA_KEY)
        self.archive = Archive(self.engine, sealer, data_dir / "recordings")
        erasure = Erasure(
            self.engine, source=self.archive.library, clock=lambda: self.now,
            outside=Leftovers(data_dir, self.archive.keeper),
        )  # fmt: skip
        return PrivacyParts(
            desk=PrivacyDesk(self.engine, sealer, records=True, clock=lambda: self.now),
            erasure=erasure,
            retention=Retention(self.engine),
            recordings=self.archive.library,
            greeting=lambda business: ("שלום, מדבר העוזר הקולי של מזגנים בצפון. במה אפשר לעזור?", False),
        )

    def build(self):
        return create_app(self.parts())

    def parts(self):
        return WebParts(
            crm=self.crm,
            business_id=self.business,
            business_name="מזגנים בצפון",
            auth_token="secret",
            public_base_url=lambda: self.base,
            api=ApiParts(
                keys=self.keys,
                hooks=self.hooks,
                access=self.access,
                desk=self.desk,
                edits=self.edits,
                outreach=self.outreach,
                base_url=lambda: self.base,
                a_minute=self.a_minute,
                rollouts=lambda business: Rollouts(self.engine, business, clock=lambda: self.now),
            ),
            rollouts=self.rollouts,
            guard=Limits(),
            desk=DeskParts(
                access=self.access,
                desk=self.desk,
                edits=self.edits,
                live=self.live,
                jobs=self.jobs,
                outreach=self.outreach,
                setup=self.setup,
                agent=self.agent,
                analytics=Analytics(self.engine, clock=lambda: self.now),
                prices=Prices(0.02, 0.024, 16.0, 2.0),
                recordings=self.recordings,
                privacy=self.privacy,
                inbox=self.inbox_desk,
            ),
        )

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

    def program(self, by, scopes=SCOPES, days=None):
        """A client with a key that `by` made for those of `scopes` they have."""
        return Program(self.app, self.keys.make(by, "CRM", {one for one in scopes if by.may(one)}, days))

    def writes(self, text, phone="+972502345678", name="רותי לוי", *, id=None, business=None, ago=timedelta(0), **more):
        """A message that came `ago`; returns its conversation's id."""
        later, self.now = self.now, self.now - ago
        self.written = getattr(self, "written", 0) + 1
        came = Inbound(
            BAILEYS, "", id or f"3A{self.written}", Address(PHONE, phone), self.now, name=name, text=text, **more
        )
        stored = self.inbox.receive(business or self.business, came)
        self.now = later
        return stored.conversation_id

    def leaves(self, result=None, reports=()):
        """The sender's round: what is due by WhatsApp is sent, with this result; then what is reported of it."""
        box, sent = Outbox(self.engine, clock=lambda: self.now), []
        while claimed := box.claim({"whatsapp": BaileysChannel.caps}):
            for one in claimed:
                box.settle(one.id, result or SendResult(MessageState.SENT, one.out.key))
                sent.append(one)
            if result is not None:
                break
        for one in sent:
            for told in reports:
                self.inbox.reported(one.business_id, Report(BAILEYS, one.out.key, told))
        return sent

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
            decision=Decision("silence", 550, "closed", 550, asked="open", outcome="answered"),
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
    office.leaves(reports=[MessageState.READ])
    office.writes("מחר בבוקר, תודה!", ago=timedelta(minutes=2))
    office.answers("רשמתי. נתראה מחר.", draft=draft())
    office.leaves(SendResult(MessageState.FAILED, error="reachout_limited"))
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
        answer = self.client.post(path, data=form, headers={"Accept": "text/html", "Origin": "http://localhost"})
        answer.request.input_stream.close()  # a large body is in a file of its own
        return answer


class Program:
    """Talks to the API, as a program does."""

    def __init__(self, app, token):
        self.client, self.token = app.test_client(), token

    def __call__(self, method, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        auth = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.client.open(f"/api/v1{path}", method=method, json=body, headers={**auth, **named})

    def get(self, path, **headers):
        return self("GET", path, **headers)

    def all(self, path, limit=2):
        """Every item of a list, page by page."""
        joint, cursor, found = "&" if "?" in path else "?", "", []
        while cursor is not None:
            page = self.get(f"{path}{joint}limit={limit}{f'&cursor={cursor}' if cursor else ''}").json
            assert len(page["items"]) <= limit
            found, cursor = [*found, *page["items"]], page["next"]
        return found


ROLES = tuple(UserRole)
