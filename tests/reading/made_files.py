"""Files made to measure for the readers' tests."""

from __future__ import annotations

import gzip
import json
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from core.reading import Batch, Reading, open_reading

NOW = datetime(2026, 10, 1)
START = datetime(2026, 9, 12, 10)
START_MS = 1_789_207_200_000


def written(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(folder: Path, name: str, members: dict[str, bytes | str]) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def archived(folder: Path, name: str, content: bytes | str) -> Path:
    """A zip of one CSV, both under the exchange's name."""
    return zipped(folder, f"{name}.zip", {f"{name}.csv": content})


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return bytes(sink.getvalue())


def tick(number: int = 0, **changes: Any) -> dict[str, Any]:
    """One tick as a file has it; a change to None leaves the field out."""
    values: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "ts": (START + timedelta(milliseconds=57 * number)).isoformat(timespec="milliseconds"),
        "price": 67000.0 + number % 100 / 10,
        "size": (number % 29 + 1) / 1000,
    }
    values |= changes
    return {name: value for name, value in values.items() if value is not None}


def ndjson(*ticks: dict[str, Any] | str, end: str = "\n") -> str:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in ticks]
    return "".join(line + end for line in lines)


def read(path: Path, **options: Any) -> Batch:
    """The whole of a file as one batch."""
    batch, _ = read_through(path, **options)
    return batch


def read_through(path: Path, **options: Any) -> tuple[Batch, Reading]:
    with open_reading(path, **{"now": NOW, **options}) as reading:
        batches = list(reading.batches())
    return joined(batches), reading


def joined(batches: list[Batch]) -> Batch:
    return Batch(
        pl.concat([batch.rows for batch in batches]),
        pl.concat([batch.rejects for batch in batches]),
        sum(batch.read for batch in batches),
        batches[-1].done,
    )


def reasons(batch: Batch) -> dict[int, str]:
    return dict(batch.rejects.select("line", "reason").rows())
