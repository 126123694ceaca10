"""The linked device's keys, its owner and its state, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import BAILEYS, ChannelHealth, Link
from moked.channels.orders import NotOurs
from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.crm.tables_whatsapp import ChannelAccount, WhatsAppAuth
from moked.crm.whatsapp_store import WhatsAppStore, account_row
from moked.errors import SealError

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture
def store(engine):
    made = WhatsAppStore(engine, Crm(engine).ensure_business("מזגנים"), Sealer(bytes(32)), clock=lambda: made.now)
    made.now, made.engine = NOW, engine
    return made


def test_one_has_the_lease_until_it_runs_out(store):
    assert store.take_lease("a", 15)
    assert store.take_lease("a", 15)
    assert not store.take_lease("b", 15)
    store.now += timedelta(seconds=16)
    assert store.take_lease("b", 15)
    assert not store.take_lease("a", 15)
    store.drop_lease("a")  # not its own
    assert not store.take_lease("a", 15)
    store.drop_lease("b")
    assert store.take_lease("a", 15)


def test_keys_come_back_and_are_sealed_in_their_place(store):
    store.take_lease("a", 15)
    store.auth_set("a", {"session": {"x": "אחת", "y": "שתיים"}, "creds": {"creds": "{}"}})
    store.auth_set("a", {"session": {"x": "שלוש", "y": None, "nobody": None}})
    assert store.auth_get("session", ["x", "y", "z"]) == {"x": "שלוש"}
    assert store.auth_get("creds", ["creds"]) == {"creds": "{}"}
    with Session(store.engine) as session, session.begin():
        rows = {row.category: row for row in session.scalars(select(WhatsAppAuth))}
        assert "שלוש".encode() not in rows["session"].value
        rows["creds"].value = rows["session"].value  # in another one's place
    with pytest.raises(SealError):
        store.auth_get("creds", ["creds"])


def test_a_first_pairing_is_one_write(store):
    store.take_lease("a", 15)
    keys = {str(number): "k" * 200 for number in range(1, 813)}
    store.auth_set("a", {"pre-key": keys})
    assert store.auth_get("pre-key", list(keys)) == keys


@pytest.mark.parametrize("how", ["never had it", "ran out", "another's"])
def test_who_has_not_the_lease_writes_nothing(store, how):
    if how != "never had it":
        store.take_lease("a", 15)
        store.now += timedelta(seconds=16)
    if how == "another's":
        store.take_lease("b", 15)
    with pytest.raises(NotOurs):
        store.auth_set("a", {"session": {"x": "1"}})
    assert store.auth_get("session", ["x"]) == {}


def test_forgetting_deletes_all_keys_and_the_order(store):
    store.take_lease("a", 15)
    store.auth_set("a", {"session": {"x": "1"}})
    with store._writing() as session:
        row = account_row(session, store._business, BAILEYS, NOW)
        row.forget, row.wanted = True, True
    assert store.orders().forget
    store.forget("a")
    assert (store.orders().forget, store.orders().wanted) == (False, False)
    assert store.auth_get("session", ["x"]) == {}


def test_what_stands_is_told_and_counted(store):
    told = []
    store._told = lambda: told.append(1)
    store.tell(ChannelHealth(Link.OPEN, account="972501111111"), version="2.3000.1", count="connects")
    store.tell(ChannelHealth(Link.WAITING, "connection_lost"), count="disconnects")
    store.tell(ChannelHealth(Link.WAITING, "connection_lost"), count="disconnects")
    with Session(store.engine) as session:
        row = session.scalars(select(ChannelAccount)).one()
        assert (row.state, row.error, row.account) == (Link.WAITING, "connection_lost", "972501111111")
        assert row.counters == {"connects": 1, "disconnects": 2}
    assert store.orders().version == "2.3000.1"
    assert len(told) == 3
