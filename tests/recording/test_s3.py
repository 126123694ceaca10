"""Recordings in an S3-compatible store: real requests, signed, to an emulator that checks them."""

import io
import wave

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from emulators.s3 import S3
from moked.crm.privacy import REFUSED
from moked.crm.tables_privacy import Recording
from moked.errors import Failure, ProviderError
from moked.recording.s3 import S3Place, S3Store
from tests.recording.conftest import CALLER, Studio


@pytest.fixture
def bucket():
    emulator = S3("recordings", "key-id", "secret")
    with emulator.running() as emulator.endpoint:
        yield emulator


def store_of(bucket, **changes):
    fields = {"bucket": "recordings", "key_id": "key-id", "secret": "secret", "endpoint": bucket.endpoint}
    return S3Store(S3Place(**(fields | changes)), timeout_s=2)


def test_what_is_put_can_be_read_in_pieces(bucket, tmp_path):
    store, path = store_of(bucket), tmp_path / "part"
    path.write_bytes(bytes(range(256)) * 200)
    store.put("abc-0", path)
    assert list(bucket.objects) == ["moked/abc-0"]
    assert store.size("abc-0") == 51_200
    assert store.read("abc-0", 1000, 300) == path.read_bytes()[1000:1300]
    assert store.read("abc-0", 51_000, 9999) == path.read_bytes()[51_000:]
    assert (store.read("none", 0, 10), store.size("none")) == (b"", 0)
    store.delete("abc-0")
    store.delete("abc-0")
    assert bucket.objects == {}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"secret": "wrong"}, Failure.AUTH), ({"endpoint": "http://127.0.0.1:9"}, Failure.UNAVAILABLE)],
)
def test_a_store_that_refuses_or_is_away_says_so(bucket, tmp_path, changes, kind):
    path = tmp_path / "part"
    path.write_bytes(b"x")
    with pytest.raises(ProviderError) as refused:
        store_of(bucket, **changes).put("abc-0", path)
    assert refused.value.kind is kind


def test_a_recording_goes_to_the_store_and_nothing_stays_here(engine, bucket, tmp_path):
    studio = Studio(engine, tmp_path / "recordings", store_of(bucket))
    with studio.recorder.running():
        for sid in ("CA1", "CA2"):
            call = studio.recorder.call(studio.open(sid), 0)
            studio.talk(call, 3)
            call.close()
    bucket.faults.extend([503] * 3)  # the first try and its second
    studio.archive.keeper.round()
    assert len(studio.files()) == 1, "what the store did not take is still here"
    assert studio.find("CA1").duration_ms == studio.find("CA2").duration_ms == 3000
    studio.archive.keeper.round()
    assert (studio.files(), len(bucket.objects)) == ([], 2)
    assert not any(CALLER * 32 in one for one in bucket.objects.values())
    recorded = studio.find("CA1")
    with wave.open(io.BytesIO(recorded.read(0, recorded.size))) as read:
        assert read.getnframes() == 24_000
    bucket.counts.clear()
    assert len(recorded.read(44 + 40_000, 1000)) == 1000
    assert bucket.counts == {"GET 206": 1}, "one range, of the one second that is needed"

    with Session(engine) as session, session.begin():
        session.execute(update(Recording).values(silences=[[0, 0, 3000]]))
    before = dict(bucket.objects)
    studio.archive.keeper.round()
    assert all(bucket.objects[name] != before[name] for name in before)

    studio.crm.add_event("CA1", REFUSED, {})
    studio.archive.keeper.round()
    assert len(bucket.objects) == 1
    assert studio.find("CA1") is None
