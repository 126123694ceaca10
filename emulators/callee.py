"""Whoever is called by `calls.create`: picks up and talks, is a machine, is busy, or does not answer.

    callee = Callee(setup, steps)
    TwilioRest(..., on_create=lambda sid, form: tasks.start_soon(callee.rings, sid, form))

The call runs through the whole simulated carrier: the webhook named in `Url`, the media stream, the status callback.
With `AsyncAmd` the carrier says, while the call runs, who picked up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import urlsplit

import anyio

from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup, Carrier, new_client
from moked.simulate.result import CallResult
from moked.simulate.scenario import Step


class Answer(StrEnum):
    PERSON = "person"
    MACHINE = "machine"
    BUSY = "busy"
    NO_ANSWER = "no-answer"


@dataclass
class Callee:
    """One telephone. `answers` are used up, one a call; the last one stays. `begun` is told every call that runs."""

    setup: CallSetup
    steps: Sequence[Step] = ()
    answers: list[Answer] = field(default_factory=lambda: [Answer.PERSON])
    begun: Callable[[SimulatedCall], None] = lambda call: None
    rung: list[dict[str, str]] = field(default_factory=list)
    results: list[CallResult] = field(default_factory=list)

    async def rings(self, call_sid: str, form: dict[str, str]) -> None:
        """The whole life of the call, from the ringing to its status callback."""
        self.rung.append(form)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        setup = replace(
            self.setup,
            caller=form["From"],
            called=form["To"],
            direction="outbound-api",
            webhook_path=_path(form["Url"]),
            status_path=_path(form["StatusCallback"]),
        )
        if answer in (Answer.BUSY, Answer.NO_ANSWER):
            async with new_client(setup.base_url) as http:
                carrier = Carrier(call_sid, setup, http)
                status = answer.value
                await carrier.request("POST", form["StatusCallback"], {"CallStatus": status}, status=status)
            return
        call = SimulatedCall(self.steps, setup, call_sid=call_sid)
        self.begun(call)
        async with anyio.create_task_group() as tasks:
            if form.get("AsyncAmd") == "true":
                tasks.start_soon(self._who_answered, call_sid, setup, form["AsyncAmdStatusCallback"], answer)
            self.results.append(await call.run())

    async def _who_answered(self, call_sid: str, setup: CallSetup, url: str, answer: Answer) -> None:
        async with new_client(setup.base_url) as http:
            carrier = Carrier(call_sid, setup, http)
            await anyio.sleep(_LISTENS_S)
            by = "machine_start" if answer is Answer.MACHINE else "human"
            await carrier.request("POST", url, {"AnsweredBy": by, "MachineDetectionDuration": "900"})


_LISTENS_S = 0.6


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
