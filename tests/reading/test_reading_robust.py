"""Whatever is in a file: it is read, or refused as a BadFile; and memory stays bounded."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest import mock

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import NOW, gzipped, joined, ndjson, tick, written, zstd

from core.errors import BadFile
from core.models import REJECT_SCHEMA, TICK_SCHEMA
from core.reading import open_reading, read_bars
from core.reading import text as text_room
from core.reading.ndjson import NdjsonTicks
from core.reading.text import Block, blocks
from core.reading.times import latest_us

ROOT = Path(__file__).resolve().parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    """One small good file of each kind, by name."""
    lines = ndjson(*[tick(n, id=n, side="buy") for n in range(60)]).encode()
    table = pl.DataFrame([tick(n) for n in range(60)])
    table.write_parquet(folder / "a.parquet")
    rows = "".join(f"{n},1.5,2,1,1,{1_789_207_200_000 + n},true\n" for n in range(60))
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("BTCUSDT-aggTrades-2026-09.csv", rows)
    return {
        "a.ndjson": lines,
        "a.ndjson.gz": gzipped(lines),
        "a.ndjson.zst": zstd(lines),
        "a.csv": table.write_csv().encode(),
        "a.parquet": (folder / "a.parquet").read_bytes(),
        "a.zip": (folder / "a.zip").read_bytes(),
        "BTCUSDT-aggTrades-2026-09-12.csv": rows.encode(),
        "BTCUSDT-1m-2026-09.csv": b"1789207200000,1,2,1,1,5,6,7,8,9,10,0\n" * 20,
    }


PUT_IN = [b"\n", b'"', b",", b"\0", b"\r", b"\xff\xfe", b"NaN", b"9" * 400]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, left out or put in; now and then the end cut off."""
    data = bytearray(content)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] = draw.randrange(256)
            case 1:
                del data[at : at + draw.randint(1, 20)]
            case 2:
                data[at:at] = draw.choice(PUT_IN)
            case 3:
                del data[at + 1 + draw.randrange(len(data)) :]
        if not data:
            return b"x"
    return bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files_are_read_or_refused(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    kept = refused = 0
    for name, content in contents(tmp_path).items():
        for _ in range(40):
            path = written(tmp_path, name, mutated(content, draw))
            try:
                with open_reading(path, now=NOW) as reading:
                    batches = list(reading.batches())
            except BadFile:
                refused += 1
                continue
            kept += 1
            for batch in batches:
                assert batch.read == batch.rows.height + batch.rejects.height
                assert dict(batch.rejects.schema) == REJECT_SCHEMA
                assert (
                    batch.rows["price" if "price" in batch.rows.columns else "open"]
                    .is_finite()
                    .all()
                )
    assert min(kept, refused) > 20


@pytest.mark.parametrize("seed", range(3))
def test_damaged_bars_are_read_or_refused(seed: int) -> None:
    draw = random.Random(seed)
    good = "ts,open,high,low,close,volume\n" + "".join(
        f"{1_789_207_200 + 60 * n},10,12,9,11,{n}\n" for n in range(40)
    )
    read = refused = 0
    for _ in range(60):
        try:
            bars = read_bars(mutated(good.encode(), draw), timeframe="1min", now=NOW)
        except BadFile:
            refused += 1
            continue
        read += 1
        assert bars.read == bars.bars.height + bars.rejects.height + bars.duplicates
        assert bars.bars["ts"].is_sorted()
        assert bars.bars["ts"].is_unique().all()
    assert read > 10
    assert refused > 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["symbol", "ts", "price", "size", "id", "side"]), JSON),
        min_size=1,
        max_size=4,
    )
)
def test_every_json_value_under_every_key_is_a_tick_or_a_reject(lines: list[dict]) -> None:
    data = ndjson(*[tick(1) | line for line in lines]).encode()
    parsed = NdjsonTicks(None, latest_us(NOW)).parse(Block(data, 1, len(lines)))
    assert parsed.read == len(lines) == parsed.rows.height + len(parsed.rejects)
    assert dict(parsed.rows.schema) == TICK_SCHEMA


@settings(max_examples=100, deadline=None)
@given(
    ticks=st.lists(st.integers(0, 99).map(lambda n: tick(n, price=n % 7)), max_size=20),
    chunk=st.integers(20, 400),
)
def test_the_size_of_the_blocks_changes_nothing(ticks: list[dict], chunk: int) -> None:
    data = ndjson(*ticks).encode()
    parser = NdjsonTicks(None, latest_us(NOW))
    with mock.patch.object(text_room, "_SAMPLE", 4):
        cut = list(blocks(io.BytesIO(data), chunk))
    pieces = [parser.parse(block) for block in cut if block.data]
    whole = NdjsonTicks(None, latest_us(NOW)).parse(Block(data, 1, len(ticks)))
    rows = [row for piece in pieces for row in piece.rows.rows()]
    assert rows == whole.rows.rows()
    assert [r for piece in pieces for r in piece.rejects] == whole.rejects


PEAK = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from core.reading import open_reading
rows = 0
with open_reading(Path({path!r})) as reading:
    for batch in reading.batches():
        rows += batch.rows.height
print(rows, int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's own mark")
def test_a_large_file_takes_no_more_memory_than_a_block(tmp_path: Path) -> None:
    block = ndjson(*[tick(n, note="x" * 200) for n in range(1000)]).encode()
    path = tmp_path / "large.ndjson"
    count = 400 * 2**20 // len(block)
    with path.open("wb") as file:
        for _ in range(count):
            file.write(block)
    code = PEAK.format(root=str(ROOT), path=str(path))
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200
    )
    rows, peak_mb = map(int, out.stdout.split())
    assert rows == count * 1000
    assert peak_mb < 300


def test_the_whole_of_a_file_is_its_batches(tmp_path: Path) -> None:
    path = written(tmp_path, "a.ndjson", ndjson(*[tick(n) for n in range(10)]))
    with open_reading(path, now=NOW) as reading:
        assert joined(list(reading.batches())).rows.height == 10
