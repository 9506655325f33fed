"""A user's own prices: a small TOML file with a currency and a date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from pydantic import Field, model_validator

from fitcalc.answers import Terms
from fitcalc.catalog.gpu import resolve_gpu
from fitcalc.catalog.price import ANY_REGION, Offer
from fitcalc.errors import FitcalcError, InvalidValue, MistakeInFile
from fitcalc.inputs.buying import OwnedServer
from fitcalc.inputs.question import Question
from fitcalc.inputs.toml_file import read_toml
from fitcalc.inputs.toml_lines import line_at, lines_of

_USD = "USD"


class PriceRow(Question):
    """One instance: what it holds, and what the whole of it costs.

    Attributes:
        gpu: Table id, alias or driver's name.
        gpus: GPUs that come together. [1]
        per_hour: The whole instance. [currency/h]
        terms: On demand, spot or reserved.
        months: How long a reservation binds. [months]
        cloud: Who sells it.
        instance: What the seller calls it.
        region: Where; ``all`` is anywhere.
    """

    gpu: str
    gpus: int = Field(ge=1, le=1024)
    per_hour: float = Field(gt=0, allow_inf_nan=False)
    terms: Terms = Terms.ON_DEMAND
    months: int = Field(default=0, ge=0, le=120)
    cloud: str = "own"
    instance: str = ""
    region: str = ANY_REGION

    @model_validator(mode="after")
    def _reserved_is_dated(self) -> PriceRow:
        if self.terms is Terms.OWNED:
            raise InvalidValue("terms", "owned", "write it under [[servers]], with price and years")
        if (self.terms is Terms.RESERVED) != (self.months > 0):
            raise InvalidValue("months", self.months, "give it with reserved terms, and only there")
        return self


class PriceTable(Question):
    """A file of prices.

    Attributes:
        currency: Three letters, such as EUR.
        usd_per_unit: What one unit of it is worth; left out for USD. [USD]
        checked: When the prices were true.
        valid_until: The last day they may be planned with; ``None`` = no end.
        offers: What is rented.
        servers: What is owned.
    """

    currency: str = Field(default=_USD, pattern="^[A-Z]{3}$")
    usd_per_unit: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    checked: date
    valid_until: date | None = None
    offers: tuple[PriceRow, ...] = ()
    servers: tuple[OwnedServer, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> PriceTable:
        if (self.currency == _USD) == (self.usd_per_unit is not None):
            fix = "give the worth of one unit in USD, unless the currency is USD"
            raise InvalidValue("usd_per_unit", self.usd_per_unit, fix)
        if not (self.offers or self.servers):
            raise InvalidValue("offers", None, "give [[offers]] or [[servers]]")
        return self

    @property
    def usd(self) -> float:
        """USD that one unit of the currency is worth."""
        return self.usd_per_unit or 1.0

    def rented(self, source: str) -> Iterator[Offer]:
        """Return the offers in USD."""
        for row in self.offers:
            price = row.per_hour * self.usd
            gpu = resolve_gpu(row.gpu)
            yield Offer(
                cloud=row.cloud,
                instance=row.instance or f"{row.gpus} x {gpu}",
                gpu=gpu,
                gpus=row.gpus,
                usd_per_hour=price,
                usd_per_gpu_hour=price / row.gpus,
                spot_usd_per_gpu_hour=None,
                region=row.region,
                checked=self.checked.isoformat(),
                source=source,
                terms=row.terms,
                months=row.months,
            )


def read_prices(path: Path) -> PriceTable:
    """Read a user's price table.

    Raises:
        InvalidValue: it cannot be read.
        MistakeInFile: a field makes no sense, a GPU is unknown, or the prices are in the past.
    """
    cells, text = read_toml(path, "prices")
    lines = lines_of(text)
    try:
        table = PriceTable(**cells)
    except InvalidValue as error:
        line = line_at(lines, tuple(error.field.split("."))) or 1
        raise MistakeInFile(path, line, str(error)) from None
    _check_gpus(path, table, lines)
    today = datetime.now(tz=UTC).date()
    if table.valid_until is not None and table.valid_until < today:
        fix = "these prices are in the past; ask for new ones"
        said = InvalidValue("valid_until", table.valid_until, fix)
        raise MistakeInFile(path, lines.get(("valid_until",), 1), str(said))
    return table


def _check_gpus(path: Path, table: PriceTable, lines: Mapping[tuple[str, ...], int]) -> None:
    names = [("offers", number, row.gpu) for number, row in enumerate(table.offers)]
    names += [("servers", number, row.gpu) for number, row in enumerate(table.servers)]
    for kind, number, name in names:
        try:
            resolve_gpu(name)
        except FitcalcError as error:
            line = line_at(lines, (kind, str(number), "gpu")) or 1
            raise MistakeInFile(path, line, str(error)) from None
