"""The worker's parts, composed from the settings: what is done after calls, and by whom.

Jobs run in threads of this process, with connections of their own, so that no call waits for them. What else
follows a call (webhooks, messages, the store of recordings) is given to `start`.
"""

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from typing import Final

import anyio
from anyio import to_thread

from moked.crm import db
from moked.crm.after import AfterCalls
from moked.crm.job_store import JobStore
from moked.crm.outbox import CALLS, LATER, REFUSED
from moked.jobs import Lane, Step, Work, after_call, engine
from moked.jobs.engine import Cron
from moked.jobs.mail import MailNotice
from moked.jobs.runner import Runner
from moked.jobs.slots import slot
from moked.jobs.summarise import Reader
from moked.parts import mail_server
from moked.settings import Settings

log = logging.getLogger(__name__)

LANES: Final = (Lane(CALLS, at_once=4), Lane(REFUSED, at_once=1), Lane(LATER, at_once=1, poll_s=2.0))
HOUSEKEEPING: Final = "housekeeping"
_AGAIN_S: Final = 10.0
_NIGHTLY: Final = Cron(HOUSEKEEPING, "20 3 * * *")


async def start(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    base_url: Callable[[], str],
    others: after_call.Parts,
    spare: Callable[[], bool] = lambda: True,
) -> None:
    """Work until `stack` ends; what runs then may finish. `base_url`: how people reach the desk; `others`: what else is
    done after a call, beside the e-mail to its owners; `spare`: this process is not hard pressed by calls.

    Nobody waits for it to be ready: calls are served meanwhile, and what they leave waits in the outbox.
    """
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)
    tasks.start_soon(_work, settings, base_url, others, spare)


async def _work(
    settings: Settings, base_url: Callable[[], str], others: after_call.Parts, spare: Callable[[], bool]
) -> None:
    while True:
        held = ExitStack()
        try:
            runner = await to_thread.run_sync(_open, settings, base_url, others, spare, held)
            await runner.run()
        except Exception as error:  # the engine's tables cannot be made or reached
            log.error("work after calls waits", extra={"error": type(error).__name__}, exc_info=error)
        finally:
            with anyio.CancelScope(shield=True):  # the role may be over already
                await to_thread.run_sync(held.close)
        await anyio.sleep(_AGAIN_S)


def _open(
    settings: Settings,
    base_url: Callable[[], str],
    others: after_call.Parts,
    spare: Callable[[], bool],
    stack: ExitStack,
) -> Runner:
    """The rounds of a worker, which stand on what is put into `stack`. In a thread: it waits for the database."""
    connections = db.connect(settings.database)
    stack.callback(connections.dispose)
    store, records = JobStore(connections), AfterCalls(connections)
    mail = _mail(settings, records, base_url)
    parts = replace(others, notice=mail) if mail is not None else others
    runner: Runner

    def clean(given: object) -> None:
        runner.clean()

    works = (*after_call.work(records, parts, _reader(settings)), Work(HOUSEKEEPING, (Step("clean", clean),)))
    folder = settings.data_dir / "worker"
    name = stack.enter_context(slot(folder))
    running = stack.enter_context(
        engine.running(
            settings.database,
            folder,
            name,
            works,
            store,
            lanes=LANES,
            enqueue=lambda job, key: store.enqueue(job, {}, key=key, lane=LATER),
        )
    )
    running.schedule([_NIGHTLY])
    runner = Runner(store, running, spare=spare)
    log.info("working", extra={"executor": name})
    return runner


def _mail(settings: Settings, records: AfterCalls, base_url: Callable[[], str]) -> MailNotice | None:
    server = mail_server(settings)
    if server is None:
        return None
    to = tuple(address for address in settings.notice_email.split(",") if address)
    return MailNotice(records, server, base_url=base_url, to=to)


def _reader(settings: Settings) -> Reader | None:
    """The language model that talks also reads; where a script talks, rules read."""
    key = settings.openai_api_key
    if key is None and not settings.openai_base_url:
        return None
    return Reader(
        model=settings.llm_model,
        api_key=key.get_secret_value() if key is not None else "",
        base_url=settings.openai_base_url,
    )
