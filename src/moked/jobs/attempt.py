"""One step, tried as patiently as it asks, with its failure as a value that can be put on record."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy.exc import OperationalError

from moked import metrics
from moked.crm import retries
from moked.errors import Failure, ProviderError
from moked.jobs import Payload, Step

log = logging.getLogger(__name__)

OK: Final = "ok"
FAILED: Final = "failed"
Outcome = Mapping[str, Any]
"""{'ok': result} or {'failed': one of `retries.CODES`}."""


def attempt(
    step: Step | None,
    payload: Payload,
    *,
    key: str,
    pause: Callable[[float], object],
    slow: Callable[[], None] = lambda: None,
) -> Outcome:
    """Never raises. `pause(seconds)` waits between tries; `slow()` is told when there is a second one. No step of that
    name any more is a failure too.
    """
    if step is None:
        return {FAILED: retries.UNKNOWN}
    wait, code = step.patience.first_s, retries.BUG
    for number in range(1, step.patience.tries + 1):
        try:
            result = step.run(payload)
        except Exception as error:
            code = failure_code(error)
            extra = {"job": key, "step": step.name, "try": number, "why": code, "error": type(error).__name__}
            # A bug's own text may hold anything; its traceback names lines, and the text only where it is ours.
            log.warning("a step failed", extra=extra, exc_info=error if code == retries.BUG else None)
            metrics.job_steps.labels(step.name, code).inc()
            if code in retries.FOR_A_PERSON or number == step.patience.tries:
                return {FAILED: code}
            if number == 1:
                slow()
            pause(wait)
            wait *= step.patience.factor
        else:
            metrics.job_steps.labels(step.name, OK).inc()
            return {OK: result}
    return {FAILED: code}


def failure_code(error: Exception) -> str:
    match error:
        case ProviderError(kind=kind):
            return kind.value
        case OperationalError():
            return Failure.UNAVAILABLE.value
        case TimeoutError():
            return Failure.TIMEOUT.value
        case ConnectionError():
            return Failure.UNAVAILABLE.value
    return retries.BUG
