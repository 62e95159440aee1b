"""What an equity curve and its trades amount to; a number that cannot be known is None.

Returns are of the start capital's account. A day is a UTC day; a year has 365.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri

from core.backtest.engine import Backtest
from core.backtest.market import Floats, Ints
from core.backtest.signals import OPEN

YEAR_S = 365 * 86_400
DAY_S = 86_400
# A Sharpe ratio of fewer daily returns has an error larger than any value worth having.
MIN_DAYS = 20
LOST = "the account was lost"
_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Measures:
    """One result's numbers; shares are bare, money in quote units, None where not known.

    ``reasons`` says by name why a number is not known. ``exposure``: share of the time in a trade.
    ``turnover``: traded notional over capital and year. ``cost_share``: costs over the gross gains
    of all trades taken together, where that is above 0. ``tail_ratio``: 95th percentile of daily
    returns over the 5th's size. ``probabilistic_sharpe``: chance that the true ratio exceeds 0.
    """

    net: float
    total_return: float
    annual_return: float | None
    sharpe: float | None
    sortino: float | None
    probabilistic_sharpe: float | None
    max_drawdown: float
    drawdown_s: int
    calmar: float | None
    trades: int
    hit_rate: float | None
    profit_factor: float | None
    turnover: float
    exposure: float
    mean_holding_s: float | None
    gross: float
    fees: float
    slippage: float
    funding: float
    cost_share: float | None
    tail_ratio: float | None
    days: int
    optimistic_fills: float | None
    reasons: dict[str, str] = field(default_factory=dict)


def measures(done: Backtest) -> Measures:
    """Return the numbers of one backtest."""
    books, market = done.books, done.market
    span_s = int(market.start_s[-1] - market.start_s[0]) + market.bar_s
    daily = daily_returns(books.equity, market.start_s + market.bar_s, books.start)
    total = books.end / books.start - 1.0
    depth, length_s = drawdown(books.equity, market.start_s, books.start, market.bar_s)
    reasons: dict[str, str] = {}
    ratio = _sharpe(daily, reasons)
    annual = None
    if span_s < MIN_DAYS * DAY_S:
        reasons["annual_return"] = reasons["calmar"] = (
            f"{span_s / DAY_S:.2g} days; from {MIN_DAYS} on they are made a year of"
        )
    elif books.end > 0:
        annual = math.expm1(min(math.log(books.end / books.start) * YEAR_S / span_s, 700.0))
    else:
        reasons["annual_return"] = LOST
    trades = books.trades
    closed = trades.filter(trades["reason"] != OPEN)
    net = closed["net"].to_numpy()
    won, lost = net[net > 0].sum(), -net[net < 0].sum()
    if not len(net):
        reasons["hit_rate"] = reasons["profit_factor"] = "no trade was closed"
    elif not lost:
        reasons["profit_factor"] = "no trade lost"
    sums = {
        name: float(trades[name].to_numpy().sum())
        for name in ("gross", "fees", "slippage", "funding")
    }
    gross = sums["gross"]
    costs = sums["fees"] + sums["slippage"] - sums["funding"]
    if gross <= 0:
        reasons["cost_share"] = "there is no gross gain to take a share of"
    fills = (books.fills_y, books.fills_x)
    traded = sum(float((np.abs(one.size) * one.paid).sum()) for one in fills)
    held = (books.position_y != 0) | (books.position_x != 0)
    through = np.concatenate([one.through for one in fills])
    return Measures(
        net=books.end - books.start,
        total_return=total,
        annual_return=annual,
        sharpe=ratio,
        sortino=_sortino(daily, reasons),
        probabilistic_sharpe=probabilistic_sharpe(daily) if ratio is not None else None,
        max_drawdown=depth,
        drawdown_s=length_s,
        calmar=annual / -depth if annual is not None and depth < 0 else None,
        trades=trades.height,
        hit_rate=float((net > 0).mean()) if len(net) else None,
        profit_factor=float(won / lost) if lost else None,
        turnover=traded / books.start * YEAR_S / span_s,
        exposure=float(held.mean()),
        mean_holding_s=(
            float(closed["bars_held"].to_numpy().mean()) * market.bar_s if len(net) else None
        ),
        **sums,
        cost_share=costs / gross if gross > 0 else None,
        tail_ratio=_tail_ratio(daily),
        days=len(daily),
        optimistic_fills=(
            float((~through).mean()) if done.settings.execution.is_maker and len(through) else None
        ),
        reasons=reasons,
    )


def daily_returns(equity: Floats, ends_s: Ints, start: float) -> Floats:
    """Return the account's return of each UTC day; ``equity`` holds at ``ends_s``, both (n,).

    A day without a row has return 0. An account at or below 0 stays there.
    """
    # A bar that ends at midnight belongs to the day that ends there.
    day = (ends_s - 1) // DAY_S
    last = np.append(np.flatnonzero(np.diff(day)), len(day) - 1)
    closes = np.full(int(day[-1] - day[0]) + 1, np.nan)
    closes[day[last] - day[0]] = equity[last]
    known = np.maximum.accumulate(np.where(np.isnan(closes), 0, np.arange(len(closes))))
    worth = np.concatenate(([start], closes[known]))
    if (worth <= 0).any():
        worth[int(np.argmax(worth <= 0)) :] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(worth[1:] / worth[:-1] - 1.0)


def drawdown(equity: Floats, start_s: Ints, start: float, bar_s: int) -> tuple[float, int]:
    """Return the deepest fall below an earlier peak (a share ≤ 0) and the longest time below."""
    curve = np.concatenate(([start], equity))
    times = np.concatenate(([start_s[0]], start_s + bar_s))
    peak = np.maximum.accumulate(curve)
    depth = float((curve / peak - 1.0).min())
    at_peak = np.flatnonzero(curve >= peak)
    waits = np.diff(np.append(times[at_peak], times[-1]))
    return depth, int(waits.max()) if depth < 0 else 0


def sharpe_ratio(daily: Floats) -> float | None:
    """Return mean / deviation of the daily returns · √365.

    None where they never vary, and where the account was lost: what follows is no return.
    """
    if (daily <= -1.0).any():
        return None
    deviation = float(np.std(daily, ddof=1)) if len(daily) > 1 else 0.0
    return float(daily.mean()) / deviation * math.sqrt(365) if deviation > 0 else None


def probabilistic_sharpe(daily: Floats, benchmark: float = 0.0) -> float | None:
    """Return the chance that the true Sharpe ratio exceeds ``benchmark`` (annualised).

    Bailey & López de Prado (2012): skewness and kurtosis widen the estimate's error.
    """
    n = len(daily)
    ratio = sharpe_ratio(daily)
    if ratio is None or n < 3:
        return None
    per_day, target = ratio / math.sqrt(365), benchmark / math.sqrt(365)
    centred = daily - daily.mean()
    second = float((centred**2).mean())
    skew = float((centred**3).mean()) / second**1.5
    kurtosis = float((centred**4).mean()) / second**2
    spread = 1.0 - skew * per_day + (kurtosis - 1.0) / 4.0 * per_day**2
    return float(ndtr((per_day - target) * math.sqrt(n - 1) / math.sqrt(max(spread, 1e-12))))


def deflated_sharpe(daily: Floats, tried: Floats) -> float | None:
    """Return the chance that the best of several trials is better than the best of pure luck.

    ``tried``: annualised Sharpe ratios of all trials. Bailey & López de Prado (2014).
    """
    known = tried[np.isfinite(tried)]
    n = len(known)
    if n < 2:
        return probabilistic_sharpe(daily)
    deviation = float(np.std(known, ddof=1))
    luck = (1 - _EULER) * ndtri(1 - 1 / n) + _EULER * ndtri(1 - 1 / (n * math.e))
    return probabilistic_sharpe(daily, float(deviation * luck))


def _sharpe(daily: Floats, reasons: dict[str, str]) -> float | None:
    if len(daily) < MIN_DAYS:
        few = f"{len(daily)} daily returns; {MIN_DAYS} are needed"
        reasons["sharpe"] = reasons["sortino"] = reasons["probabilistic_sharpe"] = few
        return None
    found = sharpe_ratio(daily)
    if found is None:
        reasons["sharpe"] = reasons["probabilistic_sharpe"] = (
            LOST if (daily <= -1.0).any() else "the account never moved"
        )
    return found


def _sortino(daily: Floats, reasons: dict[str, str]) -> float | None:
    if len(daily) < MIN_DAYS:
        return None
    if (daily <= -1.0).any():
        reasons["sortino"] = LOST
        return None
    downside = math.sqrt(float((np.minimum(daily, 0.0) ** 2).mean()))
    if not downside:
        reasons["sortino"] = "no day lost"
        return None
    return float(daily.mean()) / downside * math.sqrt(365)


def _tail_ratio(daily: Floats) -> float | None:
    if len(daily) < MIN_DAYS:
        return None
    low, high = np.quantile(daily, (0.05, 0.95))
    return float(high / -low) if low < 0 else None
