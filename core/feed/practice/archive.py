"""Daily archive files of the practice market, in the layout of data.binance.vision.

`DIR/data/futures/um/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2026-11-20.zip` and
`…/klines/BTCUSDT/1m/BTCUSDT-1m-2026-11-20.zip`, each with a `.CHECKSUM` (sha256) beside it.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from core.feed.practice.blocks import TradeBlock
from core.feed.practice.market import DAY_MS, HOUR_MS, MINUTE_MS, Market
from core.feed.practice.symbols import SYMBOLS
from core.feed.practice.wire import kline_rows, price_text, size_text

KINDS = ("aggTrades", "klines")
_TRADE_COLUMNS = (
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
)
_KLINE_COLUMNS = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
_LONG_AGO = (2000, 1, 1, 0, 0, 0)  # a fixed member time, so that equal days give equal files


def write_archives(
    market: Market,
    symbols: Sequence[str],
    first: date,
    last: date,
    out: Path,
    *,
    kinds: Sequence[str] = KINDS,
    header: bool = True,
) -> list[Path]:
    """Write the zips of the UTC days first..last (both included); returns their paths.

    Files are replaced only when complete.  Raises ValueError for another kind than `KINDS`.
    """
    if not set(kinds) <= set(KINDS):
        raise ValueError(f"kinds {list(kinds)}: use {', '.join(KINDS)}")
    written = []
    for symbol in symbols:
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            written += [_write(market, symbol, day, out, kind, header) for kind in kinds]
    return written


def _write(market: Market, symbol: str, day: date, out: Path, kind: str, header: bool) -> Path:
    wire = SYMBOLS[symbol].wire
    start_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    folder = out / "data/futures/um/daily" / kind / wire
    if kind == "klines":
        folder, name = folder / "1m", f"{wire}-1m-{day.isoformat()}"
        columns, lines = _KLINE_COLUMNS, _kline_lines(market, symbol, start_ms)
    else:
        name = f"{wire}-aggTrades-{day.isoformat()}"
        columns, lines = _TRADE_COLUMNS, _trade_lines(market, symbol, start_ms)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.zip"
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        member = zipfile.ZipInfo(f"{name}.csv", _LONG_AGO)
        member.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(member, "w") as raw, io.TextIOWrapper(raw, "utf-8") as text:
            if header:
                text.write(columns + "\n")
            text.writelines(lines)
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    part.replace(path)
    path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n", "utf-8")
    return path


def _trade_lines(market: Market, symbol: str, start_ms: int) -> Iterator[str]:
    for hour in range(start_ms, start_ms + DAY_MS, HOUR_MS):
        yield from _lines(market.trades_between(symbol, hour, hour + HOUR_MS))


def _lines(block: TradeBlock) -> Iterator[str]:
    spec = block.spec
    for a, p, q, f, last, ts, m in zip(
        block.agg_id.tolist(),
        block.price_ticks.tolist(),
        block.size_steps.tolist(),
        block.first_trade_id.tolist(),
        block.last_trade_id.tolist(),
        block.ts_ms.tolist(),
        block.buyer_is_maker.tolist(),
        strict=True,
    ):
        maker = "true" if m else "false"
        yield f"{a},{price_text(spec, p)},{size_text(spec, q)},{f},{last},{ts},{maker}\n"


def _kline_lines(market: Market, symbol: str, start_ms: int) -> Iterator[str]:
    for row in kline_rows(market.klines(symbol, MINUTE_MS, start_ms, start_ms + DAY_MS)):
        yield ",".join(map(str, row)) + "\n"
