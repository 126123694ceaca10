"""The two ends of the wire agree: the carrier of the simulator and the codec of the product, message by message."""

import string

from hypothesis import given
from hypothesis import strategies as st

from moked.media import twilio
from moked.simulate.wire import CarrierStream, Cleared, MarkAsked, Queued

SID = "MZ" + "1" * 32
NAMES = st.text(min_size=1, max_size=40)
SOUND = st.binary(min_size=1, max_size=2000)


@given(
    st.dictionaries(st.text(min_size=1), st.text(), max_size=5),
    st.lists(
        st.one_of(st.tuples(st.just("media"), SOUND), st.tuples(st.just("dtmf"), st.sampled_from("0123456789*#ABCD"))),
        max_size=30,
    ),
)
def test_all_that_the_carrier_says_is_understood(
    parameters: dict[str, str], said: list[tuple[str, bytes | str]]
) -> None:
    carrier, server = CarrierStream(SID, "CA1", "AC1", parameters), twilio.MediaStream()
    connected, start = map(server.receive, carrier.opening())
    assert connected == twilio.Connected()
    assert start == twilio.Start(SID, "CA1", "AC1", parameters=parameters)
    samples = chunk = 0
    for number, (kind, what) in enumerate(said, start=2):
        if isinstance(what, bytes):
            chunk += 1
            assert server.receive(carrier.media(what)) == twilio.Media(what, samples // 8, chunk, number)
            samples += len(what)
        else:
            assert kind == "dtmf"
            assert server.receive(carrier.dtmf(what)) == twilio.Dtmf(what)
    assert server.receive(carrier.stop()) == twilio.Stop()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 200),
            st.one_of(
                st.tuples(st.just("media"), SOUND),
                st.tuples(st.just("mark"), NAMES),
                st.tuples(st.just("clear"), st.just("")),
            ),
        ),
        max_size=30,
    )
)
def test_all_that_the_server_says_is_taken_and_every_mark_comes_home(
    said: list[tuple[int, tuple[str, bytes | str]]],
) -> None:
    carrier, server = CarrierStream(SID, "CA1", "AC1", {}), twilio.MediaStream()
    for message in carrier.opening():
        server.receive(message)
    now, asked, home = 0, [], []
    for wait, (kind, what) in said:
        now += wait
        if isinstance(what, bytes):
            got = carrier.receive(server.media(what), now)
            assert isinstance(got, Queued)
            assert got.audio == what
        elif kind == "mark":
            asked.append(what)
            assert carrier.receive(server.mark(what), now) == MarkAsked(now, what)
        else:
            assert isinstance(carrier.receive(server.clear(), now), Cleared)
        home += [server.receive(message) for message in carrier.due(now)]
    home += [server.receive(message) for message in carrier.due(now + 10**7)]
    assert home == [twilio.Mark(name) for name in asked]
    assert carrier.warnings == ()


def test_the_keys_are_the_same_on_both_ends() -> None:
    carrier, server = CarrierStream(SID, "CA1", "AC1", {}), twilio.MediaStream()
    for message in carrier.opening():
        server.receive(message)
    for key in string.printable:
        taken = isinstance(server.receive(carrier.dtmf(key)), twilio.Dtmf)
        assert taken == (key.upper() in "0123456789*#ABCD")
