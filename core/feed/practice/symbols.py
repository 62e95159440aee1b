"""What the practice exchange lists: perpetuals, cointegrated pairs, and what may not be traded.

The pairs (`PAIRS`) that are truly cointegrated, in natural-log prices:

======== ======== =========== ============== =====================
y        x        hedge ratio half-life      spread sigma (log)
======== ======== =========== ============== =====================
arbusdt  opusdt   0.9         5 minutes      75 bps
ltcusdt  bchusdt  0.8         60 minutes     45 bps
======== ======== =========== ============== =====================

``log y = alpha + hedge_ratio * log x + s`` with ``s`` a stationary AR(1) on seconds.  All other
symbols share only a common factor (weight `factor_beta`) beside a random walk of their own; any
two of them are correlated and not cointegrated.
"""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class SymbolSpec:
    """One perpetual: wire grid and the constants of its market.

    `tick` and `step` are the decimal texts of exchangeInfo; their decimals are those of the wire.
    `daily_vol` is the fraction a day of the symbol's own random walk (beside the factor),
    `activity` its share of all trades (normalised over the table), `median_usd` the median trade.
    """

    symbol: str
    base_price: float
    tick: str
    step: str
    min_notional: int
    daily_vol: float
    activity: float
    factor_beta: float
    half_spread_bps: float
    median_usd: float
    funding_hours: int = 8

    @property
    def wire(self) -> str:
        """The name as the exchange writes it (`BTCUSDT`)."""
        return self.symbol.upper()

    @cached_property
    def price_decimals(self) -> int:
        """Decimals of a price on the wire."""
        return decimals(self.tick)

    @cached_property
    def size_decimals(self) -> int:
        """Decimals of a size on the wire."""
        return decimals(self.step)

    @cached_property
    def tick_units(self) -> int:
        """One tick in units of the last wire decimal (0.10 is 10 units of 0.01)."""
        return int(self.tick.replace(".", ""))

    @cached_property
    def step_units(self) -> int:
        """One step in units of the last wire decimal."""
        return int(self.step.replace(".", ""))

    @property
    def tick_size(self) -> float:
        """One tick as a float, in quote units."""
        return float(self.tick)

    @property
    def step_size(self) -> float:
        """One step as a float, in base units."""
        return float(self.step)


@dataclass(frozen=True)
class PairSpec:
    """A cointegrated pair: log y = alpha + hedge_ratio * log x + AR(1) spread.

    `half_life_min` in minutes, `sigma_bps` the spread's stationary standard deviation in 1e-4.
    """

    y: str
    x: str
    hedge_ratio: float
    half_life_min: float
    sigma_bps: float


@dataclass(frozen=True)
class ListedOnly:
    """A contract that exchangeInfo lists but nobody may subscribe to as a trading perpetual."""

    wire: str
    pair: str
    contract_type: str
    status: str
    tick: str
    step: str


def decimals(text: str) -> int:
    """The number of digits after the point of a decimal text."""
    return len(text.partition(".")[2])


def decimal_text(units: int, places: int) -> str:
    """`units` of the last decimal as text: (6421010, 2) is `64210.10`."""
    if places == 0:
        return str(units)
    sign, digits = ("-", -units) if units < 0 else ("", units)
    whole, part = divmod(digits, 10**places)
    return f"{sign}{whole}.{part:0{places}d}"


_ROWS = (
    SymbolSpec("btcusdt", 104_000.0, "0.10", "0.001", 100, 0.008, 0.25, 1.0, 0.15, 900),
    SymbolSpec("ethusdt", 3_400.0, "0.01", "0.001", 20, 0.015, 0.19, 1.15, 0.2, 600),
    SymbolSpec("solusdt", 160.0, "0.0100", "0.01", 5, 0.022, 0.09, 1.3, 0.4, 300),
    SymbolSpec("xrpusdt", 2.4, "0.0001", "0.1", 5, 0.022, 0.06, 1.1, 0.4, 200),
    SymbolSpec("dogeusdt", 0.17, "0.00001", "1", 5, 0.025, 0.05, 1.3, 0.5, 150),
    SymbolSpec("bnbusdt", 950.0, "0.010", "0.01", 5, 0.014, 0.04, 0.9, 0.2, 250),
    SymbolSpec("adausdt", 0.55, "0.00010", "1", 5, 0.024, 0.03, 1.2, 0.9, 120),
    SymbolSpec("suiusdt", 2.1, "0.000100", "0.1", 5, 0.03, 0.03, 1.4, 0.6, 150),
    SymbolSpec("arbusdt", 0.72, "0.000100", "0.1", 5, 0.03, 0.03, 1.2, 0.8, 120),
    SymbolSpec("opusdt", 1.35, "0.0001000", "0.1", 5, 0.035, 0.03, 1.3, 0.7, 120),
    SymbolSpec("ltcusdt", 95.0, "0.01", "0.001", 20, 0.02, 0.025, 1.0, 0.6, 150),
    SymbolSpec("bchusdt", 510.0, "0.01", "0.001", 20, 0.028, 0.025, 1.0, 0.5, 150),
    SymbolSpec("1000pepeusdt", 0.0061, "0.0000001", "1", 5, 0.035, 0.03, 1.5, 0.6, 150),
    SymbolSpec("hypeusdt", 41.0, "0.00100", "0.01", 5, 0.035, 0.02, 1.1, 0.6, 180, 4),
    SymbolSpec("avaxusdt", 17.0, "0.0010", "1", 5, 0.026, 0.02, 1.3, 0.7, 150),
    SymbolSpec("linkusdt", 15.0, "0.001", "0.01", 20, 0.024, 0.02, 1.2, 0.6, 150),
    SymbolSpec("nearusdt", 2.2, "0.0010", "1", 5, 0.03, 0.012, 1.3, 2.3, 100),
    SymbolSpec("uniusdt", 6.5, "0.0010", "1", 5, 0.028, 0.012, 1.2, 1.0, 100),
    SymbolSpec("trxusdt", 0.29, "0.00001", "1", 5, 0.012, 0.01, 0.5, 0.4, 120),
    SymbolSpec("1000shibusdt", 0.0093, "0.000001", "1", 5, 0.024, 0.01, 1.3, 0.8, 100),
    SymbolSpec("wifusdt", 0.55, "0.0001", "0.1", 5, 0.04, 0.01, 1.5, 1.2, 90, 4),
    SymbolSpec("币安人生usdt", 0.16, "0.00001", "1", 5, 0.05, 0.01, 0.8, 1.5, 80, 4),
    SymbolSpec("4usdt", 0.08, "0.00001", "1", 5, 0.05, 0.006, 0.8, 2.0, 60, 4),
)

SYMBOLS: dict[str, SymbolSpec] = {row.symbol: row for row in _ROWS}

PAIRS: tuple[PairSpec, ...] = (
    PairSpec("arbusdt", "opusdt", hedge_ratio=0.9, half_life_min=5.0, sigma_bps=75.0),
    PairSpec("ltcusdt", "bchusdt", hedge_ratio=0.8, half_life_min=60.0, sigma_bps=45.0),
)

LISTED_ONLY: tuple[ListedOnly, ...] = (
    ListedOnly("BTCUSDT_261225", "BTCUSDT", "CURRENT_QUARTER", "TRADING", "0.1", "0.001"),
    ListedOnly("BTCUSDT_270326", "BTCUSDT", "NEXT_QUARTER", "TRADING", "0.1", "0.001"),
    ListedOnly("ALPACAUSDT", "ALPACAUSDT", "PERPETUAL", "SETTLING", "0.00001", "1"),
    ListedOnly("NEWUSDT", "NEWUSDT", "PERPETUAL", "PENDING_TRADING", "0.0001", "1"),
)
