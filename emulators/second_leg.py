"""The telephone that `calls.create` rings: it answers or not, hears the TwiML of its own call, presses a key, joins.

    person = Person(Manner.TAKES, setup)
    TwilioRest(..., on_create=lambda sid, form: tasks.start_soon(person.rings, sid, form))

`joined` and `left` tell whoever plays the other callers of the conference. What was said to the person is in `heard`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import anyio

from moked.simulate.carrier import CallSetup, Carrier, new_client
from moked.simulate.twiml import Fetch, Finished, Rest, TwimlRun, Wait, World


class Manner(StrEnum):
    """What the person does."""

    TAKES = "takes"
    SENDS_BACK = "sends_back"
    NO_ANSWER = "no_answer"
    HANGS_UP = "hangs_up"  # in the middle of the brief
    VOICEMAIL = "voicemail"  # a machine, which presses nothing


_KEYS = {Manner.TAKES: "1", Manner.SENDS_BACK: "2"}


@dataclass
class Person:
    """One telephone. `rings_s` before it is answered or given up, `talks_s` in the conference."""

    manner: Manner
    setup: CallSetup
    rings_s: float = 0.3
    talks_s: float = 0.5
    recorded_seconds: int = 4
    joined: Callable[[str], None] = lambda room: None
    left: Callable[[str], None] = lambda room: None
    heard: list[str] = field(default_factory=list)
    rung: list[dict[str, str]] = field(default_factory=list)

    async def rings(self, call_sid: str, form: dict[str, str]) -> None:
        """The whole life of the second leg, from the ringing to its status callback."""
        self.rung.append(form)
        async with new_client(self.setup.base_url) as http:
            carrier = Carrier(call_sid, self.setup, http)
            await anyio.sleep(self.rings_s)
            status = "no-answer"
            if self.manner is not Manner.NO_ANSWER:
                await self._talks(carrier, Fetch(form["Url"], "POST"), call_sid)
                status = "completed"
            await carrier.request("POST", form["StatusCallback"], {"CallStatus": status}, status=status)

    async def _talks(self, carrier: Carrier, first: Fetch, call_sid: str) -> None:
        world = World(digits=_KEYS.get(self.manner, ""), recorded_seconds=self.recorded_seconds)
        twiml = TwimlRun(world, account_sid=self.setup.account_sid, call_sid=call_sid)
        step: object = first
        while not isinstance(step, Finished):
            match step:
                case Fetch(url=url, method=method, parameters=parameters):
                    answer = await carrier.request(method, url, parameters)
                    kind = answer.headers.get("content-type", "")
                    twiml.load(url, answer.text, status=answer.status_code, content_type=kind)
                case Wait(room=room):
                    self.joined(room)
                    await anyio.sleep(self.talks_s)
                    self.left(room)
                    break
                case Rest(seconds=seconds):
                    await anyio.sleep(seconds)
            step = twiml.step()
            if self.manner is Manner.HANGS_UP:
                break
        self.heard += [item.text for item in twiml.trace if item.verb == "say"]
