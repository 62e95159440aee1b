"""The result types of the practice market: trades and bars as integer columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.feed.practice.symbols import SymbolSpec

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def _mixed(ids: Ints) -> NDArray[np.uint64]:
    """A few well-mixed bits of each id, for the fields that need no market meaning."""
    mixed: NDArray[np.uint64] = (ids.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(
        44
    )
    return mixed


@dataclass(frozen=True)
class TradeBlock:
    """Consecutive aggregate trades of one symbol, oldest first.

    `price_ticks` counts ticks, `size_steps` steps, `ts_ms` is epoch milliseconds (may tie),
    `agg_id` consecutive; all int64 of one length.  `buyer_is_maker` true: the taker sold.
    """

    spec: SymbolSpec
    agg_id: Ints
    ts_ms: Ints
    price_ticks: Ints
    size_steps: Ints
    buyer_is_maker: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.agg_id)

    def slice(self, start: int, stop: int) -> "TradeBlock":
        """The trades at positions start..stop-1."""
        part = slice(start, stop)
        return TradeBlock(
            self.spec,
            self.agg_id[part],
            self.ts_ms[part],
            self.price_ticks[part],
            self.size_steps[part],
            self.buyer_is_maker[part],
        )

    @property
    def price(self) -> Floats:
        """Prices as floats, equal to float() of the wire's decimal text."""
        return prices(self.spec, self.price_ticks)

    @property
    def size(self) -> Floats:
        """Sizes in base units as floats, equal to float() of the wire's decimal text."""
        return sizes(self.spec, self.size_steps)

    @property
    def first_trade_id(self) -> Ints:
        """First single trade id of each aggregate (holes between aggregates are normal)."""
        low = (_mixed(self.agg_id) & np.uint64(1)).astype(np.int64)
        ids: Ints = self.agg_id * 4 + low
        return ids

    @property
    def last_trade_id(self) -> Ints:
        """Last single trade id of each aggregate."""
        more = ((_mixed(self.agg_id) >> np.uint64(1)) % np.uint64(3)).astype(np.int64)
        ids: Ints = self.first_trade_id + more
        return ids

    @property
    def normal_steps(self) -> Ints:
        """`nq` in steps: the size without retail-price-improvement fills (one trade in 32)."""
        rpi = ((_mixed(self.agg_id) >> np.uint64(5)) & np.uint64(31)) == 0
        steps: Ints = np.where(rpi, self.size_steps - self.size_steps // 3, self.size_steps)
        return steps

    @property
    def event_ms(self) -> Ints:
        """Event time: 1-8 ms after the trade, the same however often it is encoded."""
        lag = ((_mixed(self.agg_id) >> np.uint64(12)) & np.uint64(7)).astype(np.int64)
        times: Ints = self.ts_ms + 1 + lag
        return times


def prices(spec: SymbolSpec, ticks: Ints) -> Floats:
    """Ticks as float prices, correctly rounded (one division of exact integers)."""
    values: Floats = (ticks * spec.tick_units).astype(np.float64) / 10.0**spec.price_decimals
    return values


def sizes(spec: SymbolSpec, steps: Ints) -> Floats:
    """Steps as float sizes in base units, correctly rounded."""
    values: Floats = (steps * spec.step_units).astype(np.float64) / 10.0**spec.size_decimals
    return values


def joined(spec: SymbolSpec, blocks: list[TradeBlock]) -> TradeBlock:
    """Consecutive blocks as one; an empty list gives an empty block."""
    if len(blocks) == 1:
        return blocks[0]
    empty = np.empty(0, np.int64)
    if not blocks:
        return TradeBlock(spec, empty, empty, empty, empty, np.empty(0, np.bool_))
    return TradeBlock(
        spec,
        np.concatenate([b.agg_id for b in blocks]),
        np.concatenate([b.ts_ms for b in blocks]),
        np.concatenate([b.price_ticks for b in blocks]),
        np.concatenate([b.size_steps for b in blocks]),
        np.concatenate([b.buyer_is_maker for b in blocks]),
    )


# Rows of the bar matrix (BarBlock.data), all int64.
OPEN, HIGH, LOW, CLOSE, STEPS, QUOTE, TRADES, BUY_STEPS, BUY_QUOTE = range(9)


@dataclass(frozen=True)
class BarBlock:
    """Bars of one symbol in integers, oldest first, one for every interval.

    `open_ms` the bars' starts; `open`, `high`, `low`, `close` in ticks; `volume_steps` and
    `buy_steps` in steps; `quote` and `buy_quote` in ticks x steps; `trades` aggregates.  Where
    nothing traded the four prices repeat the close before and the sums are 0, as in Binance's.
    """

    spec: SymbolSpec
    interval_ms: int
    open_ms: Ints
    data: Ints

    def __len__(self) -> int:
        return len(self.open_ms)

    def _row(self, row: int) -> Ints:
        values: Ints = self.data[row]
        return values

    @property
    def open(self) -> Ints:
        """First price, ticks."""
        return self._row(OPEN)

    @property
    def high(self) -> Ints:
        """Highest price, ticks."""
        return self._row(HIGH)

    @property
    def low(self) -> Ints:
        """Lowest price, ticks."""
        return self._row(LOW)

    @property
    def close(self) -> Ints:
        """Last price, ticks."""
        return self._row(CLOSE)

    @property
    def volume_steps(self) -> Ints:
        """Base volume, steps."""
        return self._row(STEPS)

    @property
    def quote(self) -> Ints:
        """Quote volume, ticks x steps."""
        return self._row(QUOTE)

    @property
    def trades(self) -> Ints:
        """Number of aggregate trades."""
        return self._row(TRADES)

    @property
    def buy_steps(self) -> Ints:
        """Taker-buy base volume, steps."""
        return self._row(BUY_STEPS)

    @property
    def buy_quote(self) -> Ints:
        """Taker-buy quote volume, ticks x steps."""
        return self._row(BUY_QUOTE)


def bars_of(trades: TradeBlock, starts: Ints, previous_close: int) -> Ints:
    """The bar matrix (9, len(starts) - 1) of trades cut at positions `starts`.

    `starts` are non-decreasing positions from 0 to len(trades); an empty bar carries the close
    before it (`previous_close` at the beginning).
    """
    counts = np.diff(starts)
    out = np.zeros((9, len(counts)), np.int64)
    full = np.flatnonzero(counts)
    out[TRADES] = counts
    if len(full):
        cut = starts[:-1][full]
        ticks, steps = trades.price_ticks, trades.size_steps
        quote = ticks * steps
        bought = ~trades.buyer_is_maker
        out[OPEN, full] = ticks[cut]
        out[CLOSE, full] = ticks[starts[1:][full] - 1]
        out[HIGH, full] = np.maximum.reduceat(ticks, cut)
        out[LOW, full] = np.minimum.reduceat(ticks, cut)
        out[STEPS, full] = np.add.reduceat(steps, cut)
        out[QUOTE, full] = np.add.reduceat(quote, cut)
        out[BUY_STEPS, full] = np.add.reduceat(steps * bought, cut)
        out[BUY_QUOTE, full] = np.add.reduceat(quote * bought, cut)
    _carry_closes(out, previous_close)
    return out


def coarser_bars(fine: Ints, per_bar: int) -> Ints:
    """Bars of `per_bar` fine bars each (a whole multiple), from the fine bar matrix."""
    shaped = fine.reshape(9, -1, per_bar)
    out: Ints = shaped.sum(axis=2)
    traded = shaped[TRADES] > 0
    rows = np.arange(shaped.shape[1])
    # A bar without trades only repeats an older close, which must not touch high, low or open.
    first = np.argmax(traded, axis=1)
    out[OPEN] = shaped[OPEN, rows, first]
    out[CLOSE] = shaped[CLOSE, :, -1]
    none = ~traded.any(axis=1)
    big = np.iinfo(np.int64).max
    out[HIGH] = np.where(traded, shaped[HIGH], 0).max(axis=1)
    out[LOW] = np.where(traded, shaped[LOW], big).min(axis=1)
    out[HIGH, none] = out[LOW, none] = out[CLOSE, none]
    return out


def _carry_closes(out: Ints, previous_close: int) -> None:
    empty = np.flatnonzero(out[TRADES] == 0)
    if not len(empty):
        return
    last = np.maximum.accumulate(np.where(out[TRADES] > 0, np.arange(out.shape[1]), -1))
    closes = np.concatenate((out[CLOSE], [previous_close]))  # index -1 is the close before
    for row in (OPEN, HIGH, LOW, CLOSE):
        out[row, empty] = closes[last[empty]]
