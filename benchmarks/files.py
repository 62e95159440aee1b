"""Reading files from outside: rows a second of each form, and the memory that it takes.

    python benchmarks/files.py [--rows 3000000]

The files are made in the run; each is read in a process of its own, best of three, to frames and
no further. The memory is the process's peak, the interpreter and its libraries included.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
import zipfile
from pathlib import Path

import harness
import numpy as np
import polars as pl

BLOCK = 500_000

READ = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from core.reading import open_reading
best = 0.0
for _ in range(3):
    started, rows = time.perf_counter(), 0
    with open_reading(Path({path!r})) as reading:
        for batch in reading.batches():
            rows += batch.rows.height
    best = max(best, rows / (time.perf_counter() - started))
assert rows == {rows}, rows
# The kernel's own mark: getrusage's begins with what the parent had when it forked.
status = Path("/proc/self/status").read_text()
print(best, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


def ticks(first: int, rows: int) -> pl.DataFrame:
    """Return a stretch of one made-up market, as an aggTrades archive has its fields."""
    numbers = np.arange(first, first + rows)
    drawn = np.random.default_rng(first)
    return pl.DataFrame(
        {
            "agg_trade_id": numbers + 2_500_000_000,
            "price": np.round(67_000 + drawn.normal(0, 1, rows).cumsum() / 10, 1),
            "quantity": np.round(drawn.exponential(0.05, rows) + 0.001, 3),
            "first_trade_id": numbers * 2 + 5_000_000_000,
            "last_trade_id": numbers * 2 + 5_000_000_001,
            "transact_time": 1_757_635_200_000 + numbers * 57,
            "is_buyer_maker": drawn.random(rows) < 0.5,
        }
    )


def as_ticks(frame: pl.DataFrame) -> pl.DataFrame:
    """Return symbol, ts (ISO), price, size, as a user's file has them."""
    moments = pl.col("transact_time").cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    return frame.select(
        pl.lit("BTCUSDT").alias("symbol"),
        moments.alias("ts"),
        "price",
        pl.col("quantity").alias("size"),
    )


def written(folder: Path, rows: int) -> dict[str, Path]:
    """Write the same trades in each form."""
    names = {
        "NDJSON, times in ISO": "a.ndjson",
        "NDJSON, times in ms": "ms.ndjson",
        "NDJSON, a bad line in 1,000": "bad.ndjson",
        "NDJSON, .gz": "a.ndjson.gz",
        "CSV": "a.csv",
        "CSV, a bad line in 1,000": "bad.csv",
        "Parquet": "a.parquet",
        "aggTrades zip": "BTCUSDT-aggTrades-2025-09.zip",
    }
    paths = {what: folder / name for what, name in names.items()}
    for path in paths.values():
        path.write_bytes(b"")
    archive = b""
    for first in range(0, rows, BLOCK):
        frame = ticks(first, min(BLOCK, rows - first))
        archive += frame.write_csv(include_header=not first).encode()
        table = as_ticks(frame)
        lines = table.write_ndjson().encode()
        append(paths["NDJSON, times in ISO"], lines)
        stamped = table.with_columns(ts=frame["transact_time"])
        append(paths["NDJSON, times in ms"], stamped.write_ndjson().encode())
        append(paths["NDJSON, a bad line in 1,000"], spoiled(lines))
        append(paths["NDJSON, .gz"], gzip.compress(lines, 1))
        csv = table.write_csv(include_header=not first).encode()
        append(paths["CSV"], csv)
        append(paths["CSV, a bad line in 1,000"], spoiled(csv))
    pl.read_csv(paths["CSV"]).write_parquet(paths["Parquet"], row_group_size=rows)
    with zipfile.ZipFile(paths["aggTrades zip"], "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("BTCUSDT-aggTrades-2025-09.csv", archive)
    return paths


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def spoiled(data: bytes) -> bytes:
    """Return the lines with a bad one after every thousandth."""
    lines = data.split(b"\n")
    for at in range(len(lines) - 2, 0, -1000):
        lines.insert(at, b"not, a row")
    return b"\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3_000_000)
    rows = parser.parse_args().rows
    demands = {
        "NDJSON, times in ISO": ">= 300,000",
        "NDJSON, times in ms": ">= 300,000",
        "aggTrades zip": ">= 2,500,000",
    }
    with harness.scratch() as folder:
        for what, path in written(Path(folder), rows).items():
            code = READ.format(root=str(harness.ROOT), path=str(path), rows=rows)
            out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
            if out.returncode:
                raise SystemExit(out.stderr)
            rate, memory = map(float, out.stdout.split())
            size = path.stat().st_size / 1e6
            value = f"{rate:,.0f} rows/s, peak {memory:.0f} MB (file {size:.0f} MB)"
            harness.figure(what, value, demand=demands.get(what, ""))


if __name__ == "__main__":
    main()
