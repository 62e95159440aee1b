"""What the practice exchange writes: JSON payloads, REST rows and ready WebSocket frames.

Frames are complete server frames (unmasked, final, text), so that a whole batch goes to
`transport.write` in one call.  All texts carry exactly the tick's and the step's decimals.
"""

import json
from typing import Any

from core.feed.practice.blocks import BarBlock, TradeBlock
from core.feed.practice.symbols import SYMBOLS, SymbolSpec, decimal_text

TEXT, BINARY = 0x81, 0x82
_MEMO_LIMIT = 200_000


class _Texts(dict[int, str]):
    """Decimal texts by number of ticks or steps; prices repeat, so most frames only look up."""

    def __init__(self, units: int, places: int) -> None:
        super().__init__()
        self._units, self._places = units, places

    def __missing__(self, count: int) -> str:
        if len(self) >= _MEMO_LIMIT:
            self.clear()
        text = self[count] = decimal_text(count * self._units, self._places)
        return text


_PRICES = {s.symbol: _Texts(s.tick_units, s.price_decimals) for s in SYMBOLS.values()}
_SIZES = {s.symbol: _Texts(s.step_units, s.size_decimals) for s in SYMBOLS.values()}


def header(length: int, opcode: int = TEXT) -> bytes:
    """The header of a server frame with a payload of `length` bytes (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((opcode, length))
    if length < 65_536:
        return bytes((opcode, 126)) + length.to_bytes(2, "big")
    return bytes((opcode, 127)) + length.to_bytes(8, "big")


_HEADERS = [header(n) for n in range(1_024)]


def framed(payload: bytes, opcode: int = TEXT) -> bytes:
    """A payload with its frame header."""
    return header(len(payload), opcode) + payload


def payload_of(frame: bytes) -> bytes:
    """The payload of a frame made by `framed`."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


def frames_in(data: bytes) -> list[bytes]:
    """The single frames of a run of frames made by `framed` (payloads under 64 KiB)."""
    frames, at = [], 0
    while at < len(data):
        length = data[at + 1]
        size = 2 + length if length < 126 else 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        frames.append(data[at : at + size])
        at += size
    return frames


def price_text(spec: SymbolSpec, ticks: int) -> str:
    """A price on the wire."""
    return _PRICES[spec.symbol][ticks]


def size_text(spec: SymbolSpec, steps: int) -> str:
    """A size on the wire."""
    return _SIZES[spec.symbol][steps]


def agg_trade_frames(block: TradeBlock, combined: bool) -> list[bytes]:
    """One text frame a trade: the combined stream's envelope, or the raw payload."""
    spec = block.spec
    price, size = _PRICES[spec.symbol], _SIZES[spec.symbol]
    head, tail = '{"e":"aggTrade","E":', ',"st":1}'
    if combined:
        head = f'{{"stream":"{spec.symbol}@aggTrade","data":{head}'
        tail += "}"
    name = f',"s":"{spec.wire}","a":'
    frames = []
    for event, a, p, q, nq, f, last, ts, m in zip(
        block.event_ms.tolist(),
        block.agg_id.tolist(),
        block.price_ticks.tolist(),
        block.size_steps.tolist(),
        block.normal_steps.tolist(),
        block.first_trade_id.tolist(),
        block.last_trade_id.tolist(),
        block.ts_ms.tolist(),
        block.buyer_is_maker.tolist(),
        strict=True,
    ):
        body = (
            f'{head}{event}{name}{a},"p":"{price[p]}","q":"{size[q]}","nq":"{size[nq]}",'
            f'"f":{f},"l":{last},"T":{ts},"m":{"true" if m else "false"}{tail}'
        ).encode()
        frames.append(_HEADERS[len(body)] + body)
    return frames


def agg_trade_rows(block: TradeBlock, void_ids: frozenset[int] = frozenset()) -> list[Any]:
    """REST aggTrades rows; ids in `void_ids` come with price and size 0 (unusable)."""
    spec = block.spec
    rows = []
    for a, p, q, nq, f, last, ts, m in zip(
        block.agg_id.tolist(),
        block.price_ticks.tolist(),
        block.size_steps.tolist(),
        block.normal_steps.tolist(),
        block.first_trade_id.tolist(),
        block.last_trade_id.tolist(),
        block.ts_ms.tolist(),
        block.buyer_is_maker.tolist(),
        strict=True,
    ):
        if a in void_ids:
            p = q = nq = 0
        rows.append(
            {
                "a": a,
                "p": price_text(spec, p),
                "q": size_text(spec, q),
                "nq": size_text(spec, nq),
                "f": f,
                "l": last,
                "T": ts,
                "m": m,
            }
        )
    return rows


def kline_rows(bars: BarBlock) -> list[list[Any]]:
    """REST klines: the 12 columns, prices and volumes as decimal text."""
    spec = bars.spec
    quote_units = spec.tick_units * spec.step_units
    quote_places = spec.price_decimals + spec.size_decimals
    rows = []
    for open_ms, (o, h, lo, c, v, quote, n, buy, buy_quote) in zip(
        bars.open_ms.tolist(), bars.data.T.tolist(), strict=True
    ):
        rows.append(
            [
                open_ms,
                price_text(spec, o),
                price_text(spec, h),
                price_text(spec, lo),
                price_text(spec, c),
                decimal_text(v * spec.step_units, spec.size_decimals),
                open_ms + bars.interval_ms - 1,
                decimal_text(quote * quote_units, quote_places),
                n,
                decimal_text(buy * spec.step_units, spec.size_decimals),
                decimal_text(buy_quote * quote_units, quote_places),
                "0",
            ]
        )
    return rows


def mark_price_payload(
    spec: SymbolSpec, event_ms: int, mark: float, index: float, rate: float, next_ms: int
) -> dict[str, Any]:
    """A markPriceUpdate with every field."""
    return {
        "e": "markPriceUpdate",
        "E": event_ms,
        "s": spec.wire,
        "p": f"{mark:.8f}",
        "ap": f"{(mark + index) / 2:.8f}",
        "i": f"{index:.8f}",
        "P": f"{index:.8f}",
        "r": f"{rate:.8f}",
        "T": next_ms,
        "st": 1,
    }


def json_bytes(value: Any) -> bytes:
    """Compact JSON in UTF-8 (symbols may be any Unicode)."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def enveloped(stream: str, payload: dict[str, Any], combined: bool) -> bytes:
    """A text frame of one payload, raw or in the combined stream's envelope."""
    return framed(json_bytes({"stream": stream, "data": payload} if combined else payload))
