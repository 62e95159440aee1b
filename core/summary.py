"""What the bars on the screen amount to: last, high, low, mean, volatility, volume."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

SECONDS_PER_YEAR = 365 * 86_400
# Below this many returns a standard deviation says more about luck than about the market.
MIN_RETURNS = 20

_SPARK_COLUMNS = ("high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "trades")
_NO_BARS = "no bars in the visible range"


@dataclass(frozen=True, slots=True)
class Summary:
    """One symbol over one range: prices in quote units, sizes in base units, shares bare.

    ``mean`` is the volume-weighted average price where volume is known, else the mean of the
    closes; ``mean_kind`` says which. ``volatility`` is annualised over 365 days. A value that
    is not known is None, and ``reasons`` says why by the field's name.
    """

    last: float | None
    change_abs: float | None
    change_pct: float | None
    high: float | None
    low: float | None
    mean: float | None
    mean_kind: str
    volatility: float | None
    volume: float | None
    quote_volume: float | None
    trades: int | None
    taker_buy_share: float | None
    bars: int
    returns: int
    reasons: dict[str, str]

    def reason(self, field: str) -> str | None:
        """Return why the field is not known, None where it is."""
        return self.reasons.get(field)


def summary(bars: pl.DataFrame, timeframe_s: int) -> Summary:
    """Return the summary of one symbol's bars, ordered by ``ts`` (bar start, UTC).

    The change is the last close against the first open. The frame needs ``ts open high low
    close volume quote_volume trades taker_buy_volume``; uploaded bars know none of the last three,
    ticks without a side not the last.
    """
    if bars.is_empty():
        return _unknown()
    first_open, last = float(bars["open"][0]), float(bars["close"][-1])
    reasons: dict[str, str] = {}
    mean, mean_kind = _mean(bars)
    volatility, returns = _volatility(bars, timeframe_s, reasons)
    volume = _total(bars, "volume")
    sided = bars.filter(pl.col("taker_buy_volume").is_not_null())
    sided_volume, bought = _total(sided, "volume"), _total(sided, "taker_buy_volume")
    if sided_volume <= 0:
        reasons["taker_buy_share"] = (
            "uploaded bars, and ticks without a side, do not tell the taker's"
            if sided.is_empty()
            else "no volume in the visible range"
        )
    is_counted = bool(bars["trades"].count())
    if not is_counted:
        reasons["trades"] = "uploaded bars do not tell how many trades they hold"
    if first_open == 0:
        reasons["change_pct"] = "the first price is zero"
    return Summary(
        last=last,
        change_abs=last - first_open,
        change_pct=100.0 * (last / first_open - 1.0) if first_open else None,
        high=float(bars.select(pl.col("high").max()).item()),
        low=float(bars.select(pl.col("low").min()).item()),
        mean=mean,
        mean_kind=mean_kind,
        volatility=volatility,
        volume=volume,
        quote_volume=None if bars["quote_volume"].null_count() else _total(bars, "quote_volume"),
        trades=int(_total(bars, "trades")) if is_counted else None,
        taker_buy_share=bought / sided_volume if sided_volume > 0 else None,
        bars=bars.height,
        returns=returns,
        reasons=reasons,
    )


def adjacent_log_returns(bars: pl.DataFrame, timeframe_s: int) -> NDArray[np.float64]:
    """Return log(close / previous close) over neighbouring bars only.

    A return that spans a missing bar covers a longer time, so it is left out.
    """
    if bars.height < 2:
        return np.empty(0)
    step = np.diff(bars["ts"].cast(pl.Datetime("ms")).to_physical().to_numpy())
    close = bars["close"].cast(pl.Float64).to_numpy()
    usable = (step == timeframe_s * 1000) & (close[1:] > 0) & (close[:-1] > 0)
    returns: NDArray[np.float64] = np.log(close[1:][usable] / close[:-1][usable])
    return returns


def _volatility(
    bars: pl.DataFrame, timeframe_s: int, reasons: dict[str, str]
) -> tuple[float | None, int]:
    """Return sd(log returns, ddof = 1) · √(seconds a year / seconds a bar) and their number."""
    returns = adjacent_log_returns(bars, timeframe_s)
    if returns.size < MIN_RETURNS:
        reasons["volatility"] = (
            f"{returns.size} returns between neighbouring bars; {MIN_RETURNS} are needed"
        )
        return None, int(returns.size)
    deviation = float(np.std(returns, ddof=1))
    return deviation * math.sqrt(SECONDS_PER_YEAR / timeframe_s), int(returns.size)


def _mean(bars: pl.DataFrame) -> tuple[float, str]:
    volume, quote = _total(bars, "volume"), _total(bars, "quote_volume")
    if volume > 0 and quote > 0 and not bars["quote_volume"].null_count():
        return quote / volume, "VWAP"
    return float(bars["close"].cast(pl.Float64).to_numpy().mean()), "mean of closes"


def _total(bars: pl.DataFrame, name: str) -> float:
    return float(np.nansum(bars[name].cast(pl.Float64).to_numpy()))


def _unknown() -> Summary:
    fields = (
        "last change_abs change_pct high low mean volatility volume quote_volume trades "
        "taker_buy_share"
    ).split()
    return Summary(
        **dict.fromkeys(fields),
        mean_kind="VWAP",
        bars=0,
        returns=0,
        reasons=dict.fromkeys(fields, _NO_BARS),
    )


@dataclass(frozen=True, slots=True)
class Sparklines:
    """The same range in equal parts, for the small curves beside the numbers; NaN-free."""

    last: list[float]
    high: list[float]
    low: list[float]
    mean: list[float]
    volatility: list[float]
    volume: list[float]
    trades: list[float]
    taker_buy_share: list[float]


def sparklines(bars: pl.DataFrame, timeframe_s: int, parts: int = 32) -> Sparklines:
    """Return each summary number over ``parts`` equal stretches of the bars' time.

    A stretch without bars gives no point. Volatility is the sample deviation of the stretch's
    log returns between neighbours, in % a bar.
    """
    if bars.is_empty():
        return Sparklines([], [], [], [], [], [], [], [])
    at = bars["ts"].cast(pl.Datetime("ms")).to_physical().to_numpy()
    width = max(1.0, (at[-1] - at[0] + timeframe_s * 1000) / parts)
    starts = np.flatnonzero(np.diff(((at - at[0]) / width).astype(np.int64), prepend=-1))
    column = {name: bars[name].cast(pl.Float64).to_numpy() for name in _SPARK_COLUMNS}
    sideless = np.isnan(column["taker_buy_volume"])
    worth, quoted = column["close"] * column["volume"], column["quote_volume"]
    column["quote_volume"] = np.where(np.isnan(quoted), worth, quoted)
    for name in ("taker_buy_volume", "trades"):
        column[name] = np.nan_to_num(column[name])
    volume = np.add.reduceat(column["volume"], starts)
    quote = np.add.reduceat(column["quote_volume"], starts)
    bought = np.add.reduceat(column["taker_buy_volume"], starts)
    ends = np.append(starts[1:], len(at)) - 1
    traded = volume > 0
    return Sparklines(
        last=column["close"][ends].tolist(),
        high=np.maximum.reduceat(column["high"], starts).tolist(),
        low=np.minimum.reduceat(column["low"], starts).tolist(),
        mean=(quote[traded] / volume[traded]).tolist(),
        volatility=_spark_volatility(at, column["close"], timeframe_s, ends),
        volume=volume.tolist(),
        trades=np.add.reduceat(column["trades"], starts).tolist(),
        taker_buy_share=[]
        if sideless.all()
        else (100.0 * bought[traded] / volume[traded]).tolist(),
    )


def _spark_volatility(
    at: NDArray[np.int64], close: NDArray[np.float64], timeframe_s: int, ends: NDArray[np.int64]
) -> list[float]:
    returns = np.full(len(at), np.nan)
    returns[1:] = np.log(close[1:] / close[:-1])
    returns[1:][np.diff(at) != timeframe_s * 1000] = np.nan
    found = []
    for first, last in zip(np.append(0, ends[:-1] + 1), ends, strict=True):
        stretch = returns[first : last + 1]
        stretch = stretch[np.isfinite(stretch)]
        if stretch.size >= 3:
            found.append(100.0 * float(np.std(stretch, ddof=1)))
    return found
