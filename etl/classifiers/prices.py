"""What the Anthropic models cost and how each wants to be asked (`schemas/prices.toml`), and the cap on spending."""

import threading
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from etl.errors import BudgetError, ConfigurationError
from etl.resources import resource_folder

_MILLION = 1_000_000
_RATES = ("input", "cache_write", "cache_read", "output")


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per million tokens, by kind."""

    input: float
    cache_write: float
    cache_read: float
    output: float


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of one model.

    tiers: (prompt tokens above which the rates hold, rates), the first for 0, ascending.
    cache_minimum: tokens below which a prompt is never cached.
    thinking, effort: what to send to switch thinking off and to keep answers short; '' for nothing.
    thinks: thinking cannot be ruled out, so an answer needs room for it.
    batch_factor: what the rates are multiplied by in a message batch.
    successor: the model to use instead once this one is deprecated or retired; '' where none is known.
    known: False for a model that is not in the table; its rates are then the dearest of each kind.
    """

    id: str
    tiers: tuple[tuple[int, Rates], ...]
    cache_minimum: int
    thinking: str
    effort: str
    thinks: bool
    batch_factor: float = 1.0
    successor: str = ""
    known: bool = True

    def rates(self, prompt_tokens: int) -> Rates:
        """The rates for a request whose prompt, cached or not, has so many tokens."""
        return next(rates for above, rates in reversed(self.tiers) if prompt_tokens > above or above == 0)

    def cost(
        self, input_tokens: int, cache_write: int, cache_read: int, output_tokens: int, *, batch: bool = False
    ) -> float:
        """Dollars for one request with these counts, as the vendor reports them; `batch`: as one of a batch."""
        rates = self.rates(input_tokens + cache_write + cache_read)
        dollars = (
            input_tokens * rates.input
            + cache_write * rates.cache_write
            + cache_read * rates.cache_read
            + output_tokens * rates.output
        ) / _MILLION
        return dollars * self.batch_factor if batch else dollars


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The whole table.

    as_of: the day the prices were last checked. successors: of models that have no row.
    """

    as_of: date
    models: Mapping[str, ModelFacts]
    successors: Mapping[str, str]

    def facts(self, model: str) -> ModelFacts:
        """What is known of `model`; a dated id is found by its undated one.

        A model that is not in the table is asked without any model-specific parameter, and priced at the dearest rate
        of each kind that the table has: a guess on the safe side, which is why a cap on dollars refuses such a model.
        """
        name = _without_date(model)
        for known in (model, name):
            if known in self.models:
                return self.models[known]
        every = [rates for facts in self.models.values() for _, rates in facts.tiers]
        dearest = Rates(*(max(getattr(rates, kind) for rates in every) for kind in _RATES))
        minimum = max(facts.cache_minimum for facts in self.models.values())
        return ModelFacts(
            model,
            ((0, dearest),),
            minimum,
            thinking="",
            effort="",
            thinks=True,
            batch_factor=max(facts.batch_factor for facts in self.models.values()),
            successor=self.successors.get(model) or self.successors.get(name, ""),
            known=False,
        )


def _without_date(model: str) -> str:
    """`model` without the date that some ids end with (claude-haiku-4-5-20251001)."""
    undated, _, date_part = model.rpartition("-")
    return undated if undated and len(date_part) == 8 and date_part.isdecimal() else model


def _read_rates(table: Mapping[str, Any]) -> Rates:
    return Rates(*(float(table[kind]) for kind in _RATES))


def _read_model(identifier: str, table: Mapping[str, Any], batch_factor: float) -> ModelFacts:
    steps = [(int(step["above_prompt_tokens"]), _read_rates(step)) for step in table.get("tiers", ())]
    return ModelFacts(
        id=identifier,
        tiers=((0, _read_rates(table)), *sorted(steps, key=lambda step: step[0])),
        cache_minimum=int(table["cache_minimum"]),
        thinking=str(table["thinking"]),
        effort=str(table["effort"]),
        thinks=bool(table["thinks"]),
        batch_factor=float(table.get("batch_factor", batch_factor)),
        successor=str(table.get("successor", "")),
    )


def parse_prices(content: bytes, path: str) -> PriceTable:
    """The table in `content`, the bytes of the TOML file `path`.

    Raises:
        ConfigurationError: names the file and what is wrong with it.
    """
    try:
        document = tomllib.loads(content.decode())
        factor = float(document["batch_factor"])
        models = {name: _read_model(name, table, factor) for name, table in document["models"].items()}
        as_of = document["as_of"]
        successors = {str(name): str(successor) for name, successor in document.get("successors", {}).items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path}: is no price table ({type(error).__name__}: {error})") from None
    if not models or not isinstance(as_of, date):
        raise ConfigurationError(f"{path}: needs a date `as_of` and at least one model")
    for name, successor in {**{name: facts.successor for name, facts in models.items()}, **successors}.items():
        if successor and successor not in models:
            raise ConfigurationError(f"{path}: the successor {successor!r} of {name} has no row of its own")
    return PriceTable(as_of, models, successors)


def load_prices(path: Path | None = None) -> PriceTable:
    """The shipped table, or the one in `path`.

    Raises:
        ConfigurationError: the file is missing or malformed.
    """
    path = path or resource_folder("schemas") / "prices.toml"
    try:
        return parse_prices(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None


class Spending:
    """A `base.Purse` for one process: what is spent, and what is on its way at most. Thread-safe."""

    def __init__(self, cap: float | None) -> None:
        self.cap = cap
        self.spent = 0.0
        self._reserved = 0.0
        self._lock = threading.Lock()

    def reserve(self, dollars: float) -> None:
        """Sets `dollars` aside before an attempt.

        Raises:
            BudgetError: the attempt could exceed the cap.
        """
        with self._lock:
            if self.cap is not None and self.spent + self._reserved + dollars > self.cap:
                raise BudgetError(
                    f"the cap of ${self.cap:.4f} is reached: ${self.spent:.4f} are spent, ${self._reserved:.4f} are on "
                    f"their way, the next request could cost ${dollars:.4f}; the rest stays pending (--max-cost-usd)"
                )
            self._reserved += dollars

    def settle(self, reserved: float, dollars: float) -> None:
        """Ends a reservation: the attempt has cost `dollars`."""
        with self._lock:
            self._reserved -= reserved
            self.spent += dollars
