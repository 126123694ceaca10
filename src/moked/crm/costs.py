"""What calls cost, as far as their record tells (pure): an estimate from prices an owner has set.

The telephone and the recogniser by the minute, the voice by the letter (at most: what is said often is rendered once
and costs nothing again), the language model by the token. What runs on our own machine has no price.
"""

from dataclasses import dataclass
from typing import Final

from moked.crm.figures import Figures

_MINUTE_MS: Final = 60_000
_PAID_ENGINES: Final = "google"


@dataclass(frozen=True, slots=True)
class Prices:
    """In `currency`. Letters and tokens by the million. 0: nothing, or not known."""

    phone_minute: float = 0.0
    hearing_minute: float = 0.0
    voice_million: float = 0.0
    model_million: float = 0.0
    currency: str = "USD"

    @property
    def known(self) -> bool:
        return any((self.phone_minute, self.hearing_minute, self.voice_million, self.model_million))


@dataclass(frozen=True, slots=True)
class Cost:
    """`a_call` None where there was none."""

    phone: float
    hearing: float
    voice: float
    model: float
    calls: int

    @property
    def total(self) -> float:
        return self.phone + self.hearing + self.voice + self.model

    @property
    def a_call(self) -> float | None:
        return self.total / self.calls if self.calls else None


def cost(figures: Figures, prices: Prices) -> Cost:
    paid = sum(ms for engine, ms in figures.heard_ms.items() if engine.startswith(_PAID_ENGINES))
    return Cost(
        phone=figures.talk_ms / _MINUTE_MS * prices.phone_minute,
        hearing=paid / _MINUTE_MS * prices.hearing_minute,
        voice=figures.letters / 1e6 * prices.voice_million,
        model=figures.tokens / 1e6 * prices.model_million,
        calls=figures.answered,
    )
