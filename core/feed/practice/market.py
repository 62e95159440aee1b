"""The practice market: every trade as a pure function of (seed, rate, time), in any order.

No clock and no network.  A symbol has a fixed number of trades a day, split over the day's
seconds by keyed clustered weights; so the first id of a day is a multiplication and that of a
second a look-up.  Trades are generated in blocks of one keyed generator each, whose length (an
hour down to a second) follows from the symbol's rate.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.config import PRACTICE_RATE, practice_venue
from core.feed.practice.blocks import (
    BarBlock,
    Floats,
    Ints,
    TradeBlock,
    bars_of,
    coarser_bars,
    joined,
)
from core.feed.practice.keyed import LruCache, normals, philox
from core.feed.practice.paths import SECONDS, PricePaths
from core.feed.practice.symbols import SYMBOLS, SymbolSpec

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
EPOCH_MS = 1_577_836_800_000  # 2020-01-01 UTC: day 0, whose first trade has id 1
DEFAULT_RATE = PRACTICE_RATE
_BLOCK_LENGTHS = (3_600, 600, 60, 10, 1)
_BLOCK_TRADES = 60_000
_CACHED_TRADES = 2_000_000  # 25 bytes a trade
_MAX_IDS = 20_000_000


def _size_quantiles() -> Floats:
    """65536 quantiles of the size law in medians: log-normal body with a Pareto tail."""
    rank = (np.arange(65_536) + 0.5) / 65_536
    body = np.exp(1.2 * np.log(rank / (1.0 - rank)) / 1.7)
    return np.minimum(body, 2_000.0)


_SIZES = _size_quantiles()


@dataclass(frozen=True)
class _Day:
    """One symbol-day: ids before each second (86401), mid in ticks at each second (86401)."""

    first_id: int
    before: Ints
    mid: Floats


class Market:
    """The trades, bars, mark prices and funding rates of one (seed, rate).

    `rate` is the mean number of aggregate trades a second over all symbols.
    """

    def __init__(self, seed: int = 7, rate: float = DEFAULT_RATE) -> None:
        if not (math.isfinite(rate) and 0.1 <= rate <= 10_000_000):
            raise ValueError(f"rate {rate!r}: give 0.1 to 10,000,000 trades a second")
        self.seed = seed
        self.rate = float(rate)
        self._paths = PricePaths(seed)
        self._days = LruCache(52)
        self._blocks = LruCache(_CACHED_TRADES)
        self._bars = LruCache(6_000)
        total = sum(spec.activity for spec in SYMBOLS.values())
        self._per_day = {
            spec.symbol: max(24, round(rate * SECONDS * spec.activity / total))
            for spec in SYMBOLS.values()
        }

    @property
    def identity(self) -> str:
        """The venue's name: changes with everything that changes the ids."""
        return practice_venue(self.seed, self.rate)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The keys of all trading perpetuals, in listing order."""
        return tuple(SYMBOLS)

    def trades_per_day(self, symbol: str) -> int:
        """The fixed number of aggregate trades of any day."""
        return self._per_day[symbol]

    def first_id(self, symbol: str, t_ms: int) -> int:
        """The id of the first trade with T >= t_ms (1 for any time before 2020)."""
        day, in_day = divmod(t_ms - EPOCH_MS, DAY_MS)
        if day < 0:
            return 1
        second, ms = divmod(in_day, 1000)
        table = self._day(symbol, day)
        low = table.first_id + int(table.before[second])
        if ms == 0:
            return low
        high = table.first_id + int(table.before[second + 1])
        if low == high:
            return low
        block, base = self._block(symbol, day, second // self._block_seconds(symbol))
        times = block.ts_ms[low - base : high - base]
        return low + int(np.searchsorted(times, t_ms))

    def trades(self, symbol: str, first_id: int, last_id: int) -> TradeBlock:
        """The trades first_id..last_id, both included; ids below 1 do not exist.

        Raises ValueError for more than 20 million ids at once.
        """
        spec = SYMBOLS[symbol]
        first_id = max(first_id, 1)
        if last_id - first_id >= _MAX_IDS:
            raise ValueError(f"{last_id - first_id + 1} ids asked of {symbol}: at most {_MAX_IDS}")
        parts: list[TradeBlock] = []
        at = first_id
        while at <= last_id:
            block, base = self._block_of_id(symbol, at)
            stop = min(last_id + 1 - base, len(block))
            parts.append(block.slice(at - base, stop))
            at = base + stop
        return joined(spec, parts)

    def trades_between(self, symbol: str, t0_ms: int, t1_ms: int) -> TradeBlock:
        """The trades with t0_ms <= T < t1_ms."""
        first = self.first_id(symbol, t0_ms)
        return self.trades(symbol, first, self.first_id(symbol, max(t0_ms, t1_ms)) - 1)

    def klines(
        self,
        symbol: str,
        interval_ms: int,
        t0_ms: int,
        t1_ms: int,
        until_ms: int | None = None,
    ) -> BarBlock:
        """Bars with open time in [floor(t0_ms), t1_ms), from the trades, in integers.

        `interval_ms` is a whole number of minutes that divides a day.  Trades at or after
        `until_ms` are not seen, and bars that open after it are left out.
        """
        if interval_ms % MINUTE_MS or DAY_MS % interval_ms:
            raise ValueError(f"interval {interval_ms} ms: give whole minutes that divide a day")
        start = max(t0_ms, EPOCH_MS) // interval_ms * interval_ms
        end = t1_ms if until_ms is None else min(t1_ms, until_ms)
        stop = max(start, -(-end // interval_ms) * interval_ms)
        minutes = self._minute_bars(symbol, start, stop, until_ms)
        data = coarser_bars(minutes, interval_ms // MINUTE_MS)
        return BarBlock(SYMBOLS[symbol], interval_ms, np.arange(start, stop, interval_ms), data)

    def index_price(self, symbol: str, t_ms: int) -> float:
        """The index price at a time: the mid path, in quote units."""
        day, in_day = divmod(t_ms - EPOCH_MS, DAY_MS)
        mid = self._day(symbol, day).mid
        second, ms = divmod(in_day, 1000)
        ticks = mid[second] + (mid[second + 1] - mid[second]) * (ms / 1000.0)
        return float(ticks) * SYMBOLS[symbol].tick_size

    def settlement_price(self, symbol: str, settlement_ms: int) -> float:
        """The price that funding settles at: the index at a whole second.

        Only the price path of that day is made, not its trades: funding asks for years of days.
        """
        day, in_day = divmod(settlement_ms - EPOCH_MS, DAY_MS)
        return math.exp(self._paths.log_price(symbol, day)[in_day // 1_000])

    def mark_price(self, symbol: str, t_ms: int) -> float:
        """The mark price at a time: the index and a premium of a few basis points."""
        phase = (philox(self.seed, "premium", symbol, 0).random_raw() >> 11) / 2.0**53
        wave = math.sin(2.0 * math.pi * (t_ms / (3.0 * HOUR_MS) + phase))
        return self.index_price(symbol, t_ms) * (1.0 + 3e-4 * wave)

    def funding_rate(self, symbol: str, settlement_ms: int) -> float:
        """The rate settled at a time (a multiple of the symbol's funding hours), 8 decimals."""
        index = settlement_ms // (SYMBOLS[symbol].funding_hours * HOUR_MS)
        draws = [float(normals(self.seed, "funding", symbol, index - k, 1)[0]) for k in range(6)]
        smooth = sum(0.8**k * draw for k, draw in enumerate(draws))
        return round(min(max(1e-4 + 6e-5 * smooth, -3e-3), 3e-3), 8)

    def _minute_bars(self, symbol: str, start: int, stop: int, until_ms: int | None) -> Ints:
        """Minute bar matrix from start to stop (whole minutes), put together from cached hours."""
        parts: list[Ints] = [np.zeros((9, 0), np.int64)]
        for hour in range(start // HOUR_MS, -(-stop // HOUR_MS)):
            t0, t1 = max(start, hour * HOUR_MS), min(stop, (hour + 1) * HOUR_MS)
            if until_ms is not None and t1 > until_ms:
                parts.append(self._bars_now(symbol, t0, t1, until_ms))
                continue

            def make(hour: int = hour) -> Ints:
                return self._bars_now(symbol, hour * HOUR_MS, (hour + 1) * HOUR_MS, None)

            bars: Ints = self._bars.get((symbol, hour), make)
            cut = slice(t0 // MINUTE_MS - hour * 60, t1 // MINUTE_MS - hour * 60)
            parts.append(bars[:, cut])
        return np.concatenate(parts, axis=1)

    def _bars_now(self, symbol: str, t0: int, t1: int, until_ms: int | None) -> Ints:
        """Minute bars of [t0, t1) (within one hour), a minute at a time where trades are many."""
        many = self._per_day[symbol] > 24 * 1_000_000
        span = MINUTE_MS if many else HOUR_MS
        before = self.first_id(symbol, t0) - 1
        close = int(self.trades(symbol, max(before, 1), max(before, 1)).price_ticks[0])
        parts: list[Ints] = []
        for at in range(t0, t1, span):
            edges = np.arange(at, min(at + span, t1) + 1, MINUTE_MS)
            if until_ms is not None:
                edges = np.minimum(edges, until_ms)
            ids = np.array([self.first_id(symbol, int(edge)) for edge in edges])
            block = self.trades(symbol, int(ids[0]), int(ids[-1]) - 1)
            parts.append(bars_of(block, ids - ids[0], close))
            close = int(parts[-1][3, -1])
        return np.concatenate(parts, axis=1)

    def _block_seconds(self, symbol: str) -> int:
        per_second = self._per_day[symbol] / SECONDS
        return next((n for n in _BLOCK_LENGTHS if n * per_second <= _BLOCK_TRADES), 1)

    def _day(self, symbol: str, day: int) -> _Day:
        def make() -> _Day:
            per_day = self._per_day[symbol]
            spent = np.cumsum(self._paths.arrival_weights(symbol, day))
            before = np.zeros(SECONDS + 1, np.int64)
            before[1:] = (spent * (per_day / spent[-1])).astype(np.int64)
            before[-1] = per_day
            mid = np.exp(self._paths.log_price(symbol, day)) / SYMBOLS[symbol].tick_size
            return _Day(1 + day * per_day, np.minimum(before, per_day), mid)

        table: _Day = self._days.get((symbol, day), make)
        return table

    def _block_of_id(self, symbol: str, agg_id: int) -> tuple[TradeBlock, int]:
        day, offset = divmod(agg_id - 1, self._per_day[symbol])
        before = self._day(symbol, day).before
        second = int(np.searchsorted(before, offset, side="right")) - 1
        return self._block(symbol, day, second // self._block_seconds(symbol))

    def _block(self, symbol: str, day: int, number: int) -> tuple[TradeBlock, int]:
        """Block `number` of the day and the id of its first trade."""
        length = self._block_seconds(symbol)
        table = self._day(symbol, day)
        lo, hi = number * length, (number + 1) * length
        base = table.first_id + int(table.before[lo])
        n = int(table.before[hi] - table.before[lo])

        def make() -> TradeBlock:
            key = philox(self.seed, f"trades{length}", symbol, day * (SECONDS // length) + number)
            raw = np.asarray(key.random_raw(n), dtype=np.uint64)
            start_ms = EPOCH_MS + day * DAY_MS + lo * 1000
            return _generated(
                SYMBOLS[symbol],
                base,
                start_ms,
                table.before[lo : hi + 1],
                table.mid[lo : hi + 1],
                raw,
            )

        block: TradeBlock = self._blocks.get((symbol, day, number), make, max(n, 500))
        return block, base


def _generated(
    spec: SymbolSpec,
    base: int,
    start_ms: int,
    before: Ints,
    mid: Floats,
    raw: NDArray[np.uint64],
) -> TradeBlock:
    """The trades of one block from one raw 64-bit draw each, all vectorised.

    Within a second trades are stratified (so times rise without sorting) and the mid price is
    interpolated at each trade's own time; buys print half a spread above it, sells below.
    """
    n = len(raw)
    counts = np.diff(before)
    bits = raw.view(np.uint16).reshape(n, 4)
    second = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(n) - (before[:-1] - before[0])[second]
    share = (rank + bits[:, 0] * (1.0 / 65_536)) / np.maximum(counts, 1)[second]
    ts_ms = start_ms + second * 1000 + (share * 1000.0).astype(np.int64)
    move = np.diff(mid)
    # Takers lean with the price: 62% buy in a rising second.
    threshold = np.where(move > 0, 0.62 * 65_536, 0.38 * 65_536).astype(np.uint16)
    is_buy = bits[:, 2] < threshold[second]
    half = max(0.5, spec.half_spread_bps * 1e-4 * float(mid[0]))
    noise = bits[:, 3] * (half * 0.5 / 65_536) + (0.5 - 0.25 * half)
    exact = mid[:-1][second] + move[second] * share + np.where(is_buy, half, -half) + noise
    price_ticks = np.maximum(np.floor(exact), 1.0).astype(np.int64)
    median_steps = spec.median_usd / (float(mid[0]) * spec.tick_size * spec.step_size)
    size_steps = np.maximum(_SIZES[bits[:, 1]] * median_steps, 1.0).astype(np.int64)
    return TradeBlock(spec, np.arange(base, base + n), ts_ms, price_ticks, size_steps, ~is_buy)
