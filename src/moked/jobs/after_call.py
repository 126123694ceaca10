"""The work after a call, `call:<sid>`: what must be there at once first, what may take its time last.

    read      the lead of a call that was refused; then a model, or rules: summary,
              next step, the lead's empty fields                                    crm.extraction, crm.after
    notice    the people of the business are told, by the channels they have        injected
    announce  webhooks that wait leave at once                                      injected
    follow_up the ledger of consents, what the caller was promised, other notices   injected
    recording what was recorded is completed, and goes to its store                 injected

The lead itself is there already, made in the transaction that ends the call, unless that was refused. Each step is
found done, or undone, by records of its own: any of them may run twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from moked.crm import extraction
from moked.crm.after import AfterCalls, Material
from moked.crm.extraction import Extraction
from moked.crm.outbox import AFTER_CALL, READ_AGAIN
from moked.jobs import Patience, Payload, Step, Work


def _nothing(call_sid: str) -> None:
    """No such part in this house."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What others do after a call, by its SID. Each may be called twice for one call and from any thread, does its own
    effect once (by a key that holds the SID), and raises `ProviderError` where an outside service fails.

    `settle`: make the lead of a call that was refused. `notice`: tell the people of the business. `announce`: webhooks
    about the call and its lead. `follow_up`: messages to the caller. `store_recording`: fetch and keep its audio.
    """

    settle: Callable[[str], object] = _nothing
    notice: Callable[[str], object] = _nothing
    announce: Callable[[str], object] = _nothing
    follow_up: Callable[[str], object] = _nothing
    store_recording: Callable[[str], object] = _nothing


class Reads(Protocol):
    """`summarise.Reader`."""

    def read(self, turns: Any, *, business: str) -> Extraction | None: ...


def work(records: AfterCalls, parts: Parts, reader: Reads | None = None) -> tuple[Work, Work]:
    """The work after a call, and the shorter one after its transcript was written anew."""

    def read(given: Payload) -> dict[str, Any]:
        parts.settle(given["call"])
        material = records.material(given["call"])
        if material is None:
            return {}
        found = _found(material, reader)
        return {"lead": records.learn(given["call"], found), "by": found.by}

    def of_call(do: Callable[[str], object]) -> Callable[[Payload], None]:
        def run(given: Payload) -> None:
            do(given["call"])

        return run

    reading = Step("read", read)
    return (
        Work(
            AFTER_CALL,
            (
                reading,
                Step("notice", of_call(parts.notice)),
                Step("announce", of_call(parts.announce)),
                Step("follow_up", of_call(parts.follow_up)),
                Step("recording", of_call(parts.store_recording), Patience(tries=4, first_s=1.0)),
            ),
        ),
        Work(READ_AGAIN, (reading,)),
    )


def _found(material: Material, reader: Reads | None) -> Extraction:
    ruled = extraction.by_rules(material.lead, material.origin, voicemail=material.voicemail, reached=material.reached)
    spoken = any(one.caller.strip() for one in material.turns)
    if reader is None or material.lead is None or not spoken:
        return ruled
    found = reader.read(material.turns, business=material.business)
    if found is None:
        return ruled
    return found if found.next_step else Extraction(found.by, found.summary, ruled.next_step, found.fields)
