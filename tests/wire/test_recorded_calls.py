"""Whole calls that are recorded: what is heard on the recording, and what is left of a caller who does not want one."""

import io
import logging
import wave
from datetime import UTC, datetime

import anyio
import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.audio import SILENCE, from_pcm16
from moked.crm import db, models
from moked.crm.privacy import write_rules
from moked.crm.privacy_rules import RefusedWords, Rules
from moked.simulate.scenario import Dtmf, HangUp, Say
from tests.databases import KINDS
from tests.searching import found
from tests.wire.house import database, house
from tests.wire.voices import says, times_of, words_of

pytestmark = pytest.mark.anyio


async def kept(home, placed):
    """The call's recording once its parts are complete."""
    archive = home.house.archive
    with anyio.fail_after(10):
        while list(archive.live.glob("*")):
            await anyio.to_thread.run_sync(archive.keeper.round)
            await anyio.sleep(0.02)
    return archive.library.find(home.house.business_id, placed.result.call_sid)


def sides(recorded):
    with wave.open(io.BytesIO(recorded.read(0, recorded.size))) as read:
        samples = np.frombuffer(read.readframes(read.getnframes()), "<i2").reshape(-1, 2)
    return samples[:, 0], samples[:, 1]


async def test_both_sides_are_on_the_recording_where_they_were_heard(tmp_path):
    async with house(tmp_path, recordings="on") as home:
        placed = await home.place([Say(audio=says("יש לי נזילה במטבח")), HangUp("agent_done")])
        recorded = await kept(home, placed)
    greeting = placed.turns[0]["heard"]
    assert greeting.startswith("שלום, אני העוזר הקולי הווירטואלי של אורן אינסטלציה, השיחה מוקלטת ומתומללת.")
    assert "להקיש כוכבית" in greeting

    caller, agent = sides(recorded)
    spoken = says("יש לי נזילה במטבח")
    at = from_pcm16(caller.tobytes()).find(spoken[800:4800])
    assert at > 0, "the caller's own samples are on the left"
    heard = placed.result.heard[0]
    # The sound as the caller's end played it, and on the recording: as far from the caller's own words.
    ours = from_pcm16(agent.tobytes()).find(heard.audio[:4000])
    assert ours >= 0
    distance_ms = ((at - ours) - (int(placed.result.said[0][0]) * 8 + 800 - heard.start_sample)) / 8
    assert abs(distance_ms) < 250 + placed.result.late_ms, placed.result.late_ms
    assert recorded.duration_ms >= (at + len(spoken)) / 8
    everything = b"".join(path.read_bytes() for path in (tmp_path / "data" / "recordings").rglob("*.rec"))
    assert everything
    assert spoken[800:864] not in everything


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["words", "key"])
async def test_who_refuses_leaves_neither_audio_nor_words(kind, how, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    secret, later = "הסולטן ברחוב הגפן מתקלקל", "קוראים לי דני כהן"
    refusal = Say(audio=says("אני לא רוצה שתקליטו אותי")) if how == "words" else Dtmf("*")
    steps = [Say(audio=says(secret)), refusal, Say(audio=says(later)), HangUp("agent_done")]
    with database(kind, tmp_path) as url:
        async with house(tmp_path, recordings="on", database_url=url, log_transcripts=False) as home:
            archive = home.house.archive
            engine = archive.rows._engine
            with Session(engine) as session, session.begin():
                rules = Rules(refused_words=RefusedWords.NONE)  # the strictest: not even what they want
                write_rules(session, home.house.business_id, rules, datetime.now(UTC))
            placed = await home.place(steps)
            assert await kept(home, placed) is None
            with anyio.fail_after(20):
                while await anyio.to_thread.run_sync(found, [secret], tmp_path / "data", engine):
                    await anyio.to_thread.run_sync(archive.keeper.round)
        engine = db.connect(url)
        said = " ".join(turn["heard"] for turn in placed.turns)
        assert "הסולטן" not in said
        audio = [says(secret)[start : start + 64] for start in range(800, 8000, 800)]
        audio += [says(later)[start : start + 64] for start in range(800, 4000, 800)]
        assert found([secret, "הסולטן ברחוב", "אני לא רוצה שתקליטו", *audio], tmp_path / "data", engine) == []
        assert not any("הסולטן" in str(vars(record)) for record in caplog.records)
        with Session(engine) as session:
            lead = session.scalars(select(models.Lead)).one()
            turns = session.scalars(select(models.Turn)).all()
        engine.dispose()
    assert [turn.caller_text for turn in turns] == [""] * len(turns)
    assert lead.name == "דני כהן", "the call was served, and what it is served by is kept"
    assert (lead.need, lead.summary, lead.sources) == ("", "", {})
    texts = [data.get("text", "") for data in placed.of("reply.text")]
    assert len(placed.turns) >= 3, texts


async def test_a_card_number_is_silent_and_the_words_around_it_are_heard(tmp_path):
    line = "אני רוצה לבטל את החיוב בכרטיס 4580458045804580 כי הוא כפול תודה רבה"
    async with house(tmp_path, recordings="on") as home:
        placed = await home.place([Say(audio=says(line)), Say(audio=says("כן")), HangUp("agent_done")])
        recorded = await kept(home, placed)
    assert placed.turns[1]["caller_text"] == line.replace("4580458045804580", "[כרטיס]")
    for event in ("turn.partial", "turn.final", "turn.committed"):
        assert not any("4580" in data["text"] for data in placed.of(event))
    left, audio = from_pcm16(sides(recorded)[0].tobytes()), says(line)
    start = left.find(audio[800:1600]) - 800
    assert start > 0, "how it begins is heard"
    silent = [
        set(left[start + begin * 8 : start + end * 8]) <= {SILENCE[0]} for begin, end, _ in times_of(words_of(line))
    ]
    number = line.split().index("4580458045804580")
    assert silent[number]
    assert not any(silent[: number - 2])
    assert not any(silent[number + 3 :])
