"""One backtest: signals in, ledger, equity and refusals out. Pure, and the same to the last bit.

Decided at the close of a row, filled in the legs' own next bars, marked at every row's close.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from core.backtest.ledger import Books, books
from core.backtest.market import Floats, Ints, Leg, Market, rates_missing_s
from core.backtest.orders import Sizes, sizes
from core.backtest.settings import BacktestSettings, Execution
from core.backtest.signals import Decision, decisions
from core.errors import DataError

# A ratio of realised to predicted reversion is not known before so many trades.
TRADES_FOR_CAPTURE = 30


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What the trades follow, arrays (n,), NaN where not defined.

    ``zscore`` and ``beta`` of each row, ``sigma`` the deviation that z counts in: of log spreads
    a fraction, of raw ones in y's price. ``is_in_sample``: fitted on the very rows it trades.
    ``half_life``, in bars, is needed by a time stop in half-lives alone; ∞ where nothing comes
    back. ``window_bars`` is what the statistics look back on.
    """

    zscore: Floats
    beta: Floats
    sigma: Floats
    is_log: bool = True
    is_in_sample: bool = False
    half_life: Floats | None = None
    window_bars: int = 60

    def until(self, rows: int) -> Signals:
        """Return the first rows alone."""
        return self.part(0, rows)

    def part(self, begin: int, end: int) -> Signals:
        """Return the rows [begin, end) alone."""
        rows = slice(begin, end)
        return replace(
            self,
            zscore=self.zscore[rows],
            beta=self.beta[rows],
            sigma=self.sigma[rows],
            half_life=None if self.half_life is None else self.half_life[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """What one backtest did.

    ``books`` hold the trades, the fills and the equity at each row's close; ``refused`` counts the
    entries that were not made, by reason; ``assumptions`` are what the result takes for granted.
    """

    settings: BacktestSettings
    market: Market
    signals: Signals
    books: Books
    refused: dict[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


def backtest(market: Market, signals: Signals, settings: BacktestSettings) -> Backtest:
    """Return the backtest of one pair."""
    rows = market.rows
    entries = {side: _entries(market, signals, settings, side) for side in (1, -1)}
    may = {side: np.zeros(rows, bool) for side in entries}
    for side, (at, sized) in entries.items():
        may[side][at[sized.refused == 0]] = True
    gate = _Gate(market, signals, settings) if settings.money.gate is not None else None
    path = decisions(
        signals.zscore, settings.rules, may_long=may[1], may_short=may[-1], held=market.held,
        timeout=_timeout(market, signals, settings), accept=gate,
    )  # fmt: skip
    refused = Counter[str]()
    for _, sized in entries.values():
        counts = np.bincount(sized.refused, minlength=len(sized.reasons))
        refused.update({sized.reasons[i]: int(n) for i, n in enumerate(counts) if i and n})
    if gate is not None and gate.refused:
        refused["expected capture below the cost"] = gate.refused
    quantities = _quantities(path, entries)
    found = books(market, signals.beta, signals.is_log, settings, path, *quantities)
    return Backtest(
        settings, market, signals, found, dict(refused), _assumptions(market, settings, signals)
    )


def _timeout(market: Market, signals: Signals, settings: BacktestSettings) -> Ints | None:
    """Return for each row where a trade decided there has lasted too long, None for no limit."""
    rules = settings.rules
    limits: list[Floats] = []
    if rules.time_stop_bars is not None:
        limits.append(np.full(market.rows, float(rules.time_stop_bars)))
    if (count := rules.time_stop_half_lives) is not None:
        if signals.half_life is None:
            raise DataError("a time stop in half-lives needs signals that have half-lives")
        known = np.isfinite(signals.half_life)
        # Where nothing comes back there is no half-life: the window is all one can go by.
        lives = np.where(known, count * signals.half_life, signals.window_bars)
        limits.append(np.clip(np.ceil(lives), 1.0, None))
    if not limits:
        return None
    bars: Ints = np.minimum(np.min(limits, axis=0), 2.0**31).astype(np.int64)
    begin = np.append(market.start_s, market.start_s[-1] + market.bar_s)[market.held]
    return np.searchsorted(market.start_s, begin + bars * market.bar_s)


def _entries(
    market: Market, signals: Signals, settings: BacktestSettings, side: int
) -> tuple[Ints, Sizes]:
    """Return the rows where an entry of that side is signalled and can be filled, and its sizes."""
    with np.errstate(invalid="ignore"):
        beyond = -side * signals.zscore > settings.rules.enter
    at = np.flatnonzero(beyond & (market.held < market.rows))
    return at, sizes(
        market, settings, at, side, signals.beta[at], _gross(market, signals, settings, at),
        is_log=signals.is_log,
    )  # fmt: skip


def _gross(market: Market, signals: Signals, settings: BacktestSettings, at: Ints) -> Floats:
    """Return the gross notional of entries decided at the rows."""
    money = settings.money
    if money.sizing != "volatility":
        return np.full(len(at), money.gross)
    share = signals.sigma[at] if signals.is_log else signals.sigma[at] / market.close_y[at]
    # A spread that comes back by σ within a half-life or so moves by about σ a bar at most: σ√bars
    # overstates a year's deviation, so the target is never exceeded.
    yearly = share * np.sqrt(365 * 86_400 / market.bar_s)
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = money.capital * money.target_volatility / yearly
    return np.asarray(np.minimum(wanted, money.gross), dtype=np.float64)


def _quantities(
    path: list[Decision], entries: dict[int, tuple[Ints, Sizes]]
) -> tuple[Floats, Floats, Floats]:
    """Return both legs' sizes of every trade, and the error that rounding left in the hedge."""
    columns = np.zeros((3, len(path)))
    sides = np.array([one.side for one in path], dtype=np.int64)
    rows = np.array([one.entry for one in path], dtype=np.int64)
    for side, (at, sized) in entries.items():
        mine = sides == side
        places = np.searchsorted(at, rows[mine])
        columns[:, mine] = sized.y[places], sized.x[places], sized.hedge_error[places]
    return columns[0], columns[1], columns[2]


class _Gate:
    """Refuses entries whose expected capture does not pay for the round trip."""

    def __init__(self, market: Market, signals: Signals, settings: BacktestSettings) -> None:
        self._market, self._signals, self._settings = market, signals, settings
        self._realised = self._predicted = 0.0
        self._known = 0
        self.refused = 0

    def __call__(self, row: int, side: int, before: list[Decision]) -> bool:
        for one in before[self._known :]:
            self._realised += self._reversion(one)
            self._predicted += self._promise(one.entry)
        self._known = len(before)
        if self._known < TRADES_FOR_CAPTURE or self._predicted <= 0:
            return True
        assert self._settings.money.gate is not None
        expected = self._realised / self._predicted * self._promise(row)
        if expected > self._settings.money.gate * self._cost(row):
            return True
        self.refused += 1
        return False

    def _elasticity(self, row: int) -> float:
        beta = float(self._signals.beta[row])
        ratio = self._market.close_x[row] / self._market.close_y[row]
        return abs(beta if self._signals.is_log else beta * float(ratio))

    def _promise(self, row: int) -> float:
        """|z|·σ as a share of y's price."""
        sigma = float(self._signals.sigma[row])
        share = sigma if self._signals.is_log else sigma / float(self._market.close_y[row])
        return abs(float(self._signals.zscore[row])) * share

    def _cost(self, row: int) -> float:
        """The round trip's fees and slippage as a share of y's notional."""
        how = self._settings.execution
        legs = (
            (self._market.y, self._market.fill_y, self._settings.contract_y),
            (self._market.x, self._market.fill_x, self._settings.contract_x),
        )
        slips = [
            0.0 if how.is_maker else _slippage_share(how, one, int(fills[row]), contract.tick_size)
            for one, fills, contract in legs
        ]
        fee = how.fee_bps / 1e4
        return 2 * ((fee + slips[0]) + self._elasticity(row) * (fee + slips[1]))

    def _reversion(self, one: Decision) -> float:
        """What the spread moved for the trade, fill to fill before slippage, as a share of y."""
        market = self._market
        beta = float(self._signals.beta[one.entry])
        moves = []
        for leg, fills, closes in (
            (market.y, market.fill_y, market.close_y),
            (market.x, market.fill_x, market.close_x),
        ):
            rows = [one.entry, one.exit]
            if self._settings.execution.is_maker:
                moves.append(closes[rows])
            else:
                prices = leg.vwap if self._settings.execution.fill == "vwap" else leg.open
                moves.append(prices[fills[rows]])
        (y0, y1), (x0, x1) = moves
        elasticity = beta if self._signals.is_log else beta * x0 / y0
        return float(one.side * ((y1 / y0 - 1.0) - elasticity * (x1 / x0 - 1.0)))


def _slippage_share(how: Execution, one: Leg, fill: int, tick: float) -> float:
    """Return what a taker is to lose a fill, by the last bar that closed before it."""
    bar = max(fill - 1, 0)
    close = float(one.close[bar])
    price = {
        "bps": close * how.slippage / 1e4,
        "ticks": how.slippage * tick,
        "range": how.slippage * float(one.high[bar] - one.low[bar]),
    }[how.slippage_kind]
    return max(price, how.least_ticks * tick) / close


def _assumptions(market: Market, settings: BacktestSettings, signals: Signals) -> tuple[str, ...]:
    begin, end = int(market.start_s[0]), int(market.start_s[-1]) + market.bar_s
    said = []
    for name, found in (("y", market.funding_y), ("x", market.funding_x)):
        if missing_s := rates_missing_s(found, begin, end):
            share = missing_s / (end - begin)
            said.append(f"no funding rates of {name} for {share:.0%} of the time: 0 is assumed")
        if np.isnan(found.mark).any():
            said.append(f"funding of {name} without a mark price: the last close stands in")
    for name, one in (("y", market.y), ("x", market.x)):
        if settings.execution.fill == "vwap" and not one.has_vwap:
            said.append(f"bars of {name} tell no turnover: (open + high + low + close) / 4")
    if settings.execution.is_maker:
        said.append("maker fills at the decision's close: optimistic unless traded through")
    if signals.is_in_sample:
        said.append("IN-SAMPLE: the hedge was fitted on the very bars that it trades")
    return tuple(said)
