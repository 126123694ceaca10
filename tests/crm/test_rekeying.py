"""Another DATA_KEY: nothing is left under the old one, nothing is lost, and who is killed on the way begins anew."""

import base64
import itertools

import pytest
from sqlalchemy import LargeBinary, insert, select, update
from sqlalchemy.orm import Session

from moked.crm import hiding, hooks
from moked.crm.access import sealed_for as factor_of
from moked.crm.db import Records
from moked.crm.models import Base, Call, Lead, UserAccount
from moked.crm.recordings import Recordings
from moked.crm.rekeying import FIELDS, PLACES, Rekeying, current
from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.crm.tables_api import WebhookDelivery, WebhookEndpoint
from moked.crm.tables_privacy import Recording
from moked.crm.tables_whatsapp import WhatsAppAuth
from moked.crm.whatsapp_store import WhatsAppStore
from moked.records import CallEnd, CallStart, LeadDraft, Outcome
from tests.crm.test_redaction import ID

OLD, NEW, GONE = (bytes([one]) * 32 for one in (1, 2, 3))
PHONE = "+972502345678"


class Safe:
    """A row of everything that is sealed, all under the old key."""

    def __init__(self, engine):
        self.engine, self.old = engine, Sealer(OLD)
        crm = Crm(engine, sealer=self.old)
        self.business = crm.ensure_business("מזגנים בצפון")
        self.keys = {}
        for number in range(3):
            sid = f"CA{number}"
            crm.open_call(CallStart(sid, "AC1", PHONE, "+97235551234"), self.business)
            self.keys[sid] = Recordings(engine, self.old).begin(sid, 0, 0)[1]
            draft = LeadDraft(name="דני", need="פוליסה", extra={"ת״ז": ID, "עיר": "חיפה"})
            crm.finish_call(CallEnd(sid, Outcome.COMPLETED, "done", 1, draft))
        with Session(engine) as session, session.begin():
            now = session.scalars(select(Call.started_at)).first()
            user = UserAccount(
                business_id=self.business, email="x@example.com", name="נועם", role="owner", password_hash="",
                recovery=[], created_at=now,
            )  # fmt: skip
            endpoint = WebhookEndpoint(
                business_id=self.business, url="https://example.com", name="x", events=[], secret=b"", created_at=now,
                updated_at=now,
            )  # fmt: skip
            session.add_all([user, endpoint])
            session.flush()
            user.totp_sealed = self.old.seal(b"SECRET", factor_of(user.id))
            endpoint.secret = self.old.seal(b"whsec", hooks.place(endpoint))
            endpoint.old_secret = self.old.seal(b"before", hooks.place(endpoint))
            session.execute(
                insert(WebhookDelivery).values(
                    endpoint_id=endpoint.id, business_id=self.business, event_id="e", type="lead.created",
                    payload={"data": {"extra": {"ת״ז": hiding.seal(ID, self.old, self.business), "x": "sealed: אצלי"}}},
                    log=[], attempts=0, due_at=now, created_at=now,
                )
            )  # fmt: skip
            for key in ("1", "2"):
                place = f"whatsapp:{self.business}:session:{key}"
                session.add(
                    WhatsAppAuth(
                        business_id=self.business, category="session", key_id=key, value=self.old.seal(b"k", place),
                        updated_at=now,
                    )
                )  # fmt: skip

    def row(self, table):
        with Session(self.engine) as session:
            return session.scalars(select(table)).first()

    def opens(self, *keys):
        """Everything, with these keys alone."""
        sealer = Sealer(*keys)
        for sid, key in self.keys.items():
            assert Recordings(self.engine, sealer).find(self.business, sid).key == key
        user, endpoint, lead = self.row(UserAccount), self.row(WebhookEndpoint), self.row(Lead)
        assert sealer.open(user.totp_sealed, factor_of(user.id)) == b"SECRET"
        assert sealer.open(endpoint.secret, hooks.place(endpoint)) == b"whsec"
        assert sealer.open(endpoint.old_secret, hooks.place(endpoint)) == b"before"
        store = WhatsAppStore(self.engine, self.business, sealer)
        assert store.auth_get("session", ["1", "2"]) == {"1": "k", "2": "k"}
        payload = self.row(WebhookDelivery).payload["data"]["extra"]
        for value in (lead.extra["ת״ז"], self.row(Call).draft["extra"]["ת״ז"], payload["ת״ז"]):
            assert hiding.unseal(value, sealer, self.business) == ID
        assert payload["x"] == "sealed: אצלי"
        return True


@pytest.fixture
def safe(engine):
    return Safe(engine)


def counts(done, what="renewed"):
    return {name: getattr(count, what) for name, count in done.items()}


def test_everything_is_under_the_new_key_and_a_dry_run_only_says_so(safe):
    rekeying = Rekeying(safe.engine, Sealer(NEW, OLD))
    dry = rekeying.run(dry=True)
    assert counts(dry) == {
        "recordings": 3, "second factors": 1, "webhook secrets": 1, "former webhook secrets": 1, "WhatsApp keys": 2,
        FIELDS: dry[FIELDS].total,
    }  # fmt: skip
    assert dry[FIELDS].total >= 3
    assert safe.opens(OLD)
    done = rekeying.run()
    assert counts(done) == counts(dry)
    assert not current(done)
    assert safe.opens(NEW)
    again = rekeying.run()
    assert current(again)
    assert counts(again, "total") == counts(done, "total")


def test_who_is_killed_on_the_way_begins_anew_and_finds_the_rest(safe, monkeypatch):
    class Killed(BaseException):
        pass

    both, real = Sealer(NEW, OLD), Records._writing
    for survived in range(1, 9):
        left = itertools.count()

        def writing(self, left=left, survived=survived):
            if next(left) == survived:
                raise Killed
            return real(self)

        monkeypatch.setattr(Records, "_writing", writing)
        with pytest.raises(Killed):
            Rekeying(safe.engine, both).run(batch=1)
        monkeypatch.undo()
        assert safe.opens(NEW, OLD)
    done = Rekeying(safe.engine, both).run(batch=1)
    assert 0 < sum(counts(done).values()) < 10
    assert safe.opens(NEW)


def test_what_no_key_opens_stays_and_is_counted(safe):
    lost, call = Sealer(GONE).seal(b"x" * 32, "recording:x"), safe.row(Call).id
    with Session(safe.engine) as session, session.begin():
        session.execute(update(Recording).where(Recording.call_id == call).values(key=lost))
    done = Rekeying(safe.engine, Sealer(NEW, OLD)).run()
    assert (done["recordings"].renewed, done["recordings"].lost) == (2, 1)
    with Session(safe.engine) as session:
        assert session.get(Recording, call).key == lost
    assert not current(Rekeying(safe.engine, Sealer(NEW)).run())


def test_two_keys_that_look_alike_are_told_apart():
    """The byte that names a key is one of 256."""
    first = Sealer(OLD)
    twin = next(
        key for number in range(10**6) if (key := number.to_bytes(32, "big")) != OLD
        and Sealer(key)._current == first._current
    )  # fmt: skip
    sealed = first.seal(b"x", "y")
    new = Sealer(twin, OLD).renewed(sealed, "y")
    assert new is not None
    assert Sealer(twin).open(new, "y") == b"x"


def test_every_column_of_bytes_is_known():
    """A new one that is sealed belongs to `PLACES`, another one here."""
    plain = {"call_snapshot.data", "recording_part.peaks", "export_job.data", "import_job.data"}
    there = {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary)
    }
    sealed = {f"{place.column.class_.__tablename__}.{place.column.key}" for place in PLACES}
    assert there == plain | sealed


def test_a_field_that_is_cut_off_is_left_as_it_is(safe):
    with Session(safe.engine) as session, session.begin():
        cut = hiding.SEALED + base64.b64encode(b"short").decode()
        session.execute(update(Lead).values(extra={"ת״ז": cut}))
    done = Rekeying(safe.engine, Sealer(NEW, OLD)).run()
    assert done[FIELDS].lost == len({safe.row(Lead).id})
    assert safe.row(Lead).extra == {"ת״ז": cut}
