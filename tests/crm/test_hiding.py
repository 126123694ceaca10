"""Numbers that must not be kept are hidden as they are written down: words, drafts, notes, and the sound."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm import hiding
from moked.crm.audit import Actor
from moked.crm.edits import Edits
from moked.crm.models import Call, Lead, Turn
from moked.crm.permissions import UserRole
from moked.crm.privacy import write_rules
from moked.crm.privacy_rules import Rules
from moked.crm.recordings import Recordings
from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.records import CallEnd, CallStart, FieldSource, LeadDraft, Outcome, Segment, ToolUse, TurnRecord, Waterfall
from tests.crm.test_redaction import CARD, ID, spoken
from tests.searching import found

SEALER = Sealer(b"k" * 32)
PHONE = "+972502345678"


@pytest.fixture
def crm(engine):
    crm = Crm(engine, sealer=SEALER)
    crm.business = crm.ensure_business("מזגנים בצפון")
    crm.open_call(CallStart("CA1", "AC1", PHONE, "+97235551234"), crm.business)
    crm.redeem_ticket(crm.mint_ticket("CA1"), "CA1")
    return crm


def turn(number, text="", said="", *, end=None, tools=()):
    start = number * 10_000
    return TurnRecord(
        number, text, said, said, False, start, end or start + 9000, "google", tools=tools,
        waterfall=Waterfall(speech_end_ms=start - 1000, sent_ms=start + 500),
    )  # fmt: skip


def rows(engine, what):
    with Session(engine) as session:
        return session.scalars(select(what)).all()


def test_a_card_over_three_turns_leaves_no_digit_anywhere(crm, engine, tmp_path):
    Recordings(engine, SEALER).begin("CA1", 0, 0)
    crm.add_turn("CA1", turn(1, "אני רוצה לשלם", "מה מספר הכרטיס?"))
    crm.add_turn("CA1", turn(2, spoken(CARD[:6]), "כן"))
    tools = (ToolUse("pay", f'{{"card": "{CARD}"}}', "ok", True, 1),)
    crm.add_turn("CA1", turn(3, spoken(CARD[6:]), f"אז {spoken(CARD)}?", tools=tools))
    crm.add_turn("CA1", turn(2, spoken(CARD[:6]), "כן", end=29_500))  # a late version
    stored = {one.number: one for one in rows(engine, Turn)}
    assert (stored[2].caller_text, stored[3].caller_text) == ("[כרטיס]", "[כרטיס]")
    assert stored[3].said == stored[3].heard == "אז [כרטיס]?"
    assert stored[3].tools[0]["arguments"] == '{"card": "[כרטיס]"}'
    silences = Recordings(engine, SEALER).find(crm.business, "CA1").silences
    assert (0, 9000, 19_500) in silences
    assert (0, 19_000, 29_500) in silences
    assert (1, 30_500, 39_500) in silences
    if engine.dialect.name == "postgresql":
        assert found([CARD, spoken(CARD[:6]), spoken(CARD[6:])], tmp_path, engine) == []


def timed(number, text, times=(), *, end=None):
    return replace(turn(number, text, end=end), word_times=tuple(times))


def silences_of(crm, engine):
    return Recordings(engine, SEALER).find(crm.business, "CA1").silences


def test_only_the_words_of_a_number_fall_silent_where_their_times_are_known(crm, engine):
    Recordings(engine, SEALER).begin("CA1", 0, 0)
    times = [(10_000, 10_300), (10_400, 10_700), (10_900, 14_000), (14_200, 14_500)]
    crm.add_turn("CA1", timed(1, "שלום"))
    crm.add_turn("CA1", timed(2, f"הכרטיס שלי {CARD} תודה", times))
    assert silences_of(crm, engine) == ((0, 10_500, 14_400),)


def test_times_that_come_with_a_later_version_cut_the_silence_to_the_number(crm, engine):
    Recordings(engine, SEALER).begin("CA1", 0, 0)
    crm.add_turn("CA1", timed(1, "שלום"))
    crm.add_turn("CA1", timed(2, f"הכרטיס שלי {CARD} תודה"))  # on a guess
    assert silences_of(crm, engine) == ((0, 9000, 19_500),)
    times = [(10_000, 10_300), (10_400, 10_700), (10_900, 14_000), (14_200, 14_500)]
    crm.add_turn("CA1", timed(2, f"הכרטיס שלי, {CARD} תודה", times, end=29_500))
    assert silences_of(crm, engine) == ((0, 10_500, 14_400),)
    crm.add_turn("CA1", timed(2, f"הכרטיס שלי, {CARD} תודה", end=29_600))  # without them: known already
    assert silences_of(crm, engine) == ((0, 10_500, 14_400),)
    assert [one.caller_text for one in rows(engine, Turn) if one.number == 2] == ["הכרטיס שלי [כרטיס] תודה"]


def test_times_outside_of_the_turn_are_not_believed(crm, engine):
    Recordings(engine, SEALER).begin("CA1", 0, 0)
    crm.add_turn("CA1", timed(1, f"הכרטיס {CARD}", [(1000, 1500), (2000, 60_000)]))
    assert silences_of(crm, engine) == ((0, 0, 9500),)


def test_a_number_over_two_turns_falls_silent_word_by_word(crm, engine):
    Recordings(engine, SEALER).begin("CA1", 0, 0)
    crm.add_turn("CA1", timed(1, f"הכרטיס {CARD[:8]}", [(1000, 1500), (2000, 5000)]))
    crm.add_turn("CA1", timed(2, f"{CARD[8:]} תודה", [(11_000, 14_000), (15_000, 15_400)]))
    assert silences_of(crm, engine) == ((0, 1500, 9500), (0, 9000, 15_000))


def test_a_number_that_is_typed_is_hidden_too_and_its_turn_falls_silent(crm, engine):
    Recordings(engine, SEALER).begin("CA1", 0, 0)
    crm.add_turn("CA1", timed(1, "שלום"))
    crm.add_turn("CA1", replace(turn(2, "", "מה מספר תעודת הזהות?"), dtmf=""))
    crm.add_turn("CA1", replace(turn(3, "הנה", "תודה"), dtmf=f"{ID}#", word_times=((30_000, 30_300),)))
    crm.add_turn("CA1", replace(turn(3, "הנה", "תודה", end=39_500), dtmf=f"{ID}#"))
    crm.add_turn("CA1", replace(turn(4, "", "בסדר"), dtmf="0502345678#"))
    assert [one.dtmf for one in rows(engine, Turn)] == ["", "", "[ת״ז]#", "0502345678#"]
    assert silences_of(crm, engine) == ((0, 19_000, 29_500),)


def test_words_without_a_number_leave_no_times(crm, engine):
    crm.add_turn("CA1", timed(1, "שלום לכם", [(0, 1), (2, 3)]))
    assert rows(engine, Turn.word_times) == [[]]


def test_the_lead_and_what_people_write_are_clean_and_the_number_stays(crm, engine):
    quote = f"הכרטיס שלי {CARD} והטלפון 0502345678"
    draft = LeadDraft(
        name="דני", phone=PHONE, need=f"חיוב כפול בכרטיס {CARD}", sources={"need": FieldSource(1, quote, 0.9)}
    )
    crm.add_turn("CA1", turn(1, quote), draft)
    left = crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "done", 1000, draft))
    (lead,) = rows(engine, Lead)
    assert (lead.need, lead.phone) == ("חיוב כפול בכרטיס [כרטיס]", PHONE)
    assert lead.sources["need"]["quote"] == "הכרטיס שלי [כרטיס] והטלפון 0502345678"
    assert CARD not in str(rows(engine, Call)[0].draft)
    actor = Actor(None, crm.business, "דנה", "d@example.com", UserRole.OWNER, 1)
    edits = Edits(engine)
    edits.add_note(actor, left.lead_id, f"ת״ז {ID}, טלפון נוסף 03-5551234")
    edits.set_field(actor, left.lead_id, "need", f"ויזה {CARD}")
    (lead,) = rows(engine, Lead)
    assert lead.notes[-1]["text"] == "ת״ז [ת״ז], טלפון נוסף 03-5551234"
    assert lead.need == "ויזה [כרטיס]"


def test_an_identity_number_that_the_business_asks_for_is_sealed(crm, engine):
    draft = LeadDraft(name="דני", phone=PHONE, need="פוליסה", extra={"ת״ז": ID, "עיר": "חיפה"})
    crm.add_turn("CA1", turn(1, f"תעודת זהות {spoken(ID)}"), draft)
    crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "done", 1000, draft))
    (lead,) = rows(engine, Lead)
    assert lead.extra["עיר"] == "חיפה"
    assert ID not in str(lead.extra)
    assert hiding.unseal(lead.extra["ת״ז"], SEALER, crm.business) == ID
    assert rows(engine, Turn)[0].caller_text == "תעודת זהות [ת״ז]"


def test_the_written_transcript_is_hidden_too_and_falls_silent(crm, engine):
    Recordings(engine, SEALER).begin("CA1", 0, 0)
    crm.store_transcript("CA1", [Segment(1000, 4000, "caller", f"הכרטיס {spoken(CARD)}", "whisper")])
    assert CARD not in str(crm.call_report("CA1")["transcript"])
    assert crm.call_report("CA1")["transcript"]["segments"][0]["text"] == "הכרטיס [כרטיס]"
    assert Recordings(engine, SEALER).find(crm.business, "CA1").silences == ((0, 1000, 4000),)


def test_the_business_may_keep_them(crm, engine):
    with Session(engine) as session, session.begin():
        write_rules(session, crm.business, Rules(hide_cards=False, hide_ids=False), datetime.now(UTC))
    crm.add_turn("CA1", turn(1, f"הכרטיס {CARD}"))
    assert rows(engine, Turn)[0].caller_text == f"הכרטיס {CARD}"


def test_who_refused_is_a_lead_without_words(crm, engine):
    crm.add_turn("CA1", turn(1, "המזגן בסלון מטפטף"))
    crm.add_event("CA1", "recording_refused", {"how": "words"})
    draft = LeadDraft(name="דני", need="מזגן מטפטף", sources={"need": FieldSource(1, "המזגן בסלון מטפטף", 0.9)})
    crm.add_turn("CA1", turn(2, "קוראים לי דני"), draft)
    crm.finish_call(CallEnd("CA1", Outcome.CALLER_HUNG_UP, "stop", 1000, draft))
    assert [one.caller_text for one in rows(engine, Turn)] == ["", ""]
    (lead,) = rows(engine, Lead)
    assert (lead.name, lead.need, lead.sources["need"]["quote"]) == ("דני", "מזגן מטפטף", "")
    assert not crm.store_transcript("CA1", [Segment(0, 1, "caller", "מילים", "whisper")])
