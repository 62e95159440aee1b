"""Trades of several symbols as ready frames in time order: for a moment, or a whole preload."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from core.feed.practice.blocks import Ints, TradeBlock
from core.feed.practice.market import Market
from core.feed.practice.wire import agg_trade_frames

_SLICE_FRAMES = 2_000  # about 450 kB: large writes, yet the market clock moves in small steps
_WINDOW_TRADES = 50_000


def in_time_order(blocks: Sequence[TradeBlock]) -> Ints:
    """The positions of the concatenated blocks' trades by (T, block, id)."""
    order: Ints = np.argsort(np.concatenate([b.ts_ms for b in blocks]), kind="stable")
    return order


def merged_frames(blocks: Sequence[TradeBlock], frames: Sequence[list[bytes]]) -> list[bytes]:
    """The frames of several blocks as one list in time order."""
    if len(frames) == 1:
        return frames[0]
    together = [frame for one in frames for frame in one]
    return [together[i] for i in in_time_order(blocks).tolist()]


class Moment:
    """The trades of [t0_ms, t1_ms), encoded once however many connections want them."""

    def __init__(self, market: Market, t0_ms: int, t1_ms: int) -> None:
        self._market, self._t0, self._t1 = market, t0_ms, t1_ms
        self._blocks: dict[str, TradeBlock] = {}
        self._frames: dict[tuple[str, bool], list[bytes]] = {}
        self._merged: dict[tuple[tuple[str, ...], bool], list[bytes]] = {}

    def frames(self, symbols: tuple[str, ...], combined: bool) -> list[bytes]:
        """The frames of some symbols in time order."""
        key = (symbols, combined)
        if key not in self._merged:
            blocks = [b for b in map(self._block, symbols) if len(b)]
            encoded = [self._encoded(b, combined) for b in blocks]
            self._merged[key] = merged_frames(blocks, encoded) if blocks else []
        return self._merged[key]

    def _block(self, symbol: str) -> TradeBlock:
        if symbol not in self._blocks:
            self._blocks[symbol] = self._market.trades_between(symbol, self._t0, self._t1)
        return self._blocks[symbol]

    def _encoded(self, block: TradeBlock, combined: bool) -> list[bytes]:
        key = (block.spec.symbol, combined)
        if key not in self._frames:
            self._frames[key] = agg_trade_frames(block, combined)
        return self._frames[key]


@dataclass(frozen=True)
class Slice:
    """Whole frames ready to write, how many, and the time of the last trade among them."""

    data: bytes
    frames: int
    last_ms: int


@dataclass
class Preload:
    """The frames of the first trades from a moment on, of all symbols, in time order.

    `first_ids` and `end_ids` bound the ids per symbol (end excluded), `last_ms` is the time of
    the last trade.  Memory: the slices' bytes (some 230 a frame) and one window of work.
    """

    start_ms: int
    first_ids: dict[str, int]
    end_ids: dict[str, int]
    slices: list[Slice] = field(default_factory=list)
    frames: int = 0
    last_ms: int = 0


def preload(market: Market, start_ms: int, trades: int) -> Preload:
    """Encode the first `trades` trades at or after `start_ms`, all symbols, combined frames."""
    firsts = {symbol: market.first_id(symbol, start_ms) for symbol in market.symbols}
    done = Preload(start_ms, firsts, dict(firsts), last_ms=start_ms - 1)
    for blocks in _windows(market, start_ms, market.symbols):
        order = in_time_order(blocks)[: trades - done.frames]
        owner = np.repeat(np.arange(len(blocks)), [len(b) for b in blocks])[order]
        for block, n in zip(blocks, np.bincount(owner, minlength=len(blocks)), strict=True):
            done.end_ids[block.spec.symbol] += int(n)
        _append(done, blocks, order, combined=True)
        if done.frames >= trades:
            return done
    raise AssertionError("the market never ends")


def part_of(market: Market, whole: Preload, symbols: tuple[str, ...], combined: bool) -> Preload:
    """The frames of some of a preload's symbols, or in the raw form, encoded anew."""
    firsts = {symbol: whole.first_ids[symbol] for symbol in symbols}
    done = Preload(whole.start_ms, firsts, dict(firsts), last_ms=whole.start_ms - 1)
    if not symbols:
        return done
    for blocks in _windows(market, whole.start_ms, symbols):
        kept = []
        for block in blocks:
            symbol = block.spec.symbol
            left = whole.end_ids[symbol] - done.end_ids[symbol]
            kept.append(block.slice(0, min(left, len(block))))
            done.end_ids[symbol] += len(kept[-1])
        _append(done, kept, in_time_order(kept), combined)
        if all(done.end_ids[s] >= whole.end_ids[s] for s in symbols):
            return done
    raise AssertionError("the market never ends")


def _windows(market: Market, start_ms: int, symbols: tuple[str, ...]) -> Iterator[list[TradeBlock]]:
    seconds = min(3_600, max(1, int(_WINDOW_TRADES / market.rate)))
    at = start_ms
    while True:
        stop = at + seconds * 1_000
        yield [market.trades_between(symbol, at, stop) for symbol in symbols]
        at = stop


def _append(done: Preload, blocks: list[TradeBlock], order: Ints, combined: bool) -> None:
    together = [f for block in blocks for f in agg_trade_frames(block, combined)]
    times = np.concatenate([b.ts_ms for b in blocks])
    for at in range(0, len(order), _SLICE_FRAMES):
        part = order[at : at + _SLICE_FRAMES]
        data = b"".join([together[i] for i in part.tolist()])
        done.slices.append(Slice(data, len(part), int(times[part[-1]])))
    if len(order):
        done.frames += len(order)
        done.last_ms = int(times[order[-1]])
