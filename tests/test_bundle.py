"""A pair's view in a ZIP: the same to the last digit when it is opened again."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pair_bars import START, closes
from stats.series import cointegrated

from core.bundle import Times, read_bundle, restored, write_bundle
from core.bundle_kept import bundle_folder, bundle_kind, keep, kept
from core.bundle_members import MEMBERS
from core.errors import BadFile, NotEnoughData
from core.pair_spec import METHODS, PairSpec
from core.store import Store, open_store

MINUTES = 900


def fill(store: Store) -> Store:
    y, x = cointegrated(3, MINUTES, half_life=20.0, sigma=0.002, vol=2e-4)
    bars = closes(np.exp(y), 2 * np.exp(x), without=((400, 401, 700), (500,)))
    with store.write() as con:
        con.register("bars", bars)
        con.execute(
            "insert into bars_1min select symbol, ts, close, close, close, close, volume, close, "
            "1, 0.5, ts, 1, ts, 1 from bars order by ts, symbol"
        )
        con.unregister("bars")
    return store


@pytest.fixture
def filled(store: Store) -> Store:
    return fill(store)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bundle of one view, for the tests that only open or break it."""
    store = open_store(tmp_path_factory.mktemp("plain") / "perpduck.duckdb")
    store.prepare("binance")
    return write_bundle(fill(store), PairSpec("yusdt", "xusdt"), "1d", times())


def times(minutes: int = MINUTES) -> Times:
    begin = START + timedelta(minutes=300)
    end = START + timedelta(minutes=minutes)
    return Times(begin, end, begin - timedelta(minutes=7), end - timedelta(minutes=5), 32_520.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("carry", [0, 3])
def test_a_view_is_the_same_to_the_last_digit(filled: Store, method: str, carry: int) -> None:
    spec = PairSpec(
        "yusdt", "xusdt", "1min", carry == 0, method,  # type: ignore[arg-type]
        window_bars=40, carry_bars=carry, burn_in_bars=200, min_turnover=0.001,
    )  # fmt: skip
    data = write_bundle(filled, spec, "6h", times(), (0.1, None))
    found = restored(read_bundle(data))
    assert found.differences == ()
    assert found.bundle.spec == spec
    assert found.bundle.times == times()
    assert found.bundle.range_name == "6h"
    assert found.bundle.tick_sizes == (0.1, None)
    assert found.analysis.series.equals(found.bundle.series)
    assert found.analysis.series.height > 500
    assert found.bundle.results["verdict"]["kind"] == found.verdict.kind


def test_every_number_is_among_the_results(plain: bytes) -> None:
    found = read_bundle(plain)
    held = found.results["half_life"]["value"]
    assert float.fromhex(held["bars"]) > 0
    assert found.results["ols"]["provenance"]["bars"] == 596
    assert {"adf", "kpss", "johansen", "hurst", "corr_returns", "verdict"} <= set(found.results)


def test_what_changed_is_named(filled: Store) -> None:
    spec = PairSpec("yusdt", "xusdt", window_bars=30)
    data = write_bundle(filled, spec, "1d", times())
    told = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("results.json"))
    beta = told["ols"]["value"]["beta"]
    told["ols"]["value"]["beta"] = float(np.nextafter(float.fromhex(beta), 9)).hex()
    found = restored(read_bundle(rewritten(data, {"results.json": json.dumps(told).encode()})))
    assert found.differences == ("ols.value.beta",)


def rewritten(data: bytes, changes: dict[str, bytes], *, sign: bool = True) -> bytes:
    """The ZIP with other members; their hashes follow, as somebody who means it would do."""
    import hashlib

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | changes
    manifest = json.loads(members["manifest.json"])
    if sign:
        manifest["sha256"] |= {k: hashlib.sha256(v).hexdigest() for k, v in changes.items()}
        members["manifest.json"] = json.dumps(manifest).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_changed_member_is_refused(plain: bytes) -> None:
    with pytest.raises(BadFile, match=r"closes\.parquet in the bundle is not as it was written"):
        read_bundle(rewritten(plain, {"closes.parquet": b"other"}, sign=False))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"closes.parquet": b"no parquet"}, r"closes\.parquet .* no whole Parquet file"),
        ({"series.parquet": b"PAR1PAR1"}, r"series\.parquet .* no whole Parquet file"),
        ({"results.json": b"{"}, r"results\.json .* cannot be read"),
        ({"results.json": b"[" * 100_000}, r"results\.json .* cannot be read"),
        ({"../evil": b"x"}, r"the ZIP holds \.\./evil"),
    ],
)
def test_what_is_no_bundle_is_refused(plain: bytes, changes: dict[str, bytes], words: str) -> None:
    with pytest.raises(BadFile, match=words):
        read_bundle(rewritten(plain, changes))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no zip at all" * 100])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    with pytest.raises(BadFile, match="no whole ZIP"):
        read_bundle(data)


def test_a_bomb_is_refused_before_it_unpacks(plain: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.bundle_members.MOST_BYTES", 10_000)
    with pytest.raises(BadFile, match=r"closes\.parquet in the bundle unpacks to more than"):
        read_bundle(plain)


def test_text_is_held_shorter_than_bars(plain: bytes) -> None:
    large = b"{" + b" " * (5 << 20) + b"}"
    with pytest.raises(
        BadFile, match=r"results\.json in the bundle unpacks to more than 4,194,304"
    ):
        read_bundle(rewritten(plain, {"results.json": large}))


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("spec.y", "[click](http://evil)", "is no symbol"),
        ("spec.y", 7, "Expected `str`"),
        ("spec.window_bars", "60", "Expected `int`"),
        ("spec.window_bars", 1, "window of 1 bars"),
        ("spec.timeframe", "7min", "is not a timeframe"),
        ("made_by", "![x](http://evil/x.png)", "matching regex"),
        ("range", "7d](http://evil)", "matching regex"),
        ("tick_sizes", [-1.0, None], "should be above 0"),
        ("tick_sizes", ["0.1", None], "Expected `float"),
        ("times.as_of", "1970-01-01T00:00:00", "make no view"),
        ("times.as_of", "9999-01-01T00:00:00", "make no view"),
        ("times.start", "2026-11-01T00:00:00Z", "no timezone"),
        ("sha256", {}, "tells the sha256 of nothing"),
    ],
)
def test_a_manifest_that_asks_for_something_else_is_refused(
    plain: bytes, place: str, value: object, words: str
) -> None:
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(plain)).read("manifest.json"))
    *above, last = place.split(".")
    inner = manifest
    for name in above:
        inner = inner[name]
    inner[last] = value
    changed = {"manifest.json": json.dumps(manifest).encode()}
    with pytest.raises(BadFile, match=words):
        read_bundle(rewritten(plain, changed, sign=False))


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.lit(None, dtype=pl.Float64).alias("close"), "prices that are none"),
        (pl.lit(-1.0).alias("close"), "prices that are none"),
        (pl.lit(float("nan")).alias("volume"), "prices that are none"),
        (pl.lit(START).dt.cast_time_unit("ms").alias("ts"), "bars twice"),
        (pl.col("ts").dt.offset_by("1y"), "out of the range"),
        (pl.lit("other").alias("symbol"), "other symbols than"),
        (pl.col("close").cast(pl.Int64), "it should have"),
        (pl.lit(1).alias("more"), "rows of symbol, ts, close, volume, more"),
    ],
)
def test_bars_that_no_file_of_ours_holds_are_refused(
    plain: bytes, change: pl.Expr, words: str
) -> None:
    bars = read_bundle(plain).legs.closes.with_columns(change)
    with pytest.raises(BadFile, match=words):
        read_bundle(rewritten(plain, {"closes.parquet": parquet(bars)}))


def test_a_parquet_bomb_is_refused_by_its_rows(
    plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = read_bundle(plain).legs.closes
    monkeypatch.setattr("core.bundle_members.MOST_ROWS", 5000)
    many = pl.concat([bars] * 10)
    with pytest.raises(BadFile, match="at most 5,000 of"):
        read_bundle(rewritten(plain, {"closes.parquet": parquet(many)}))


def test_a_bundle_that_was_packed_again_is_the_same(plain: bytes) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(plain)) as one,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as other,
    ):
        for name in sorted(one.namelist()):
            other.writestr(name, one.read(name))
    assert restored(read_bundle(buffer.getvalue())).differences == ()


def test_damage_anywhere_is_refused_or_changes_nothing(plain: bytes) -> None:
    known = read_bundle(plain)
    rng = np.random.default_rng(7)
    refused = 0
    for turn in range(150):
        broken = bytearray(plain)
        for at in rng.integers(0, len(plain), 1 + turn % 5):
            broken[at] ^= 1 << rng.integers(0, 8)
        try:
            found = read_bundle(bytes(broken[: len(plain) - 7 * (turn % 3)]))
        except BadFile:
            refused += 1
            continue
        assert found.legs.closes.equals(known.legs.closes)
        assert found.results == known.results
    assert refused > 100


def test_the_filter_is_among_the_results(filled: Store) -> None:
    spec = PairSpec("yusdt", "xusdt", method="kalman", burn_in_bars=200)
    found = read_bundle(write_bundle(filled, spec, "1d", times())).results["filter"]
    assert float.fromhex(found["sd_z"]) > 0
    assert found["burn_in"] == 200


def test_another_format_is_told_apart(plain: bytes) -> None:
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(plain)).read("manifest.json"))
    changed = rewritten(
        plain, {"manifest.json": json.dumps(manifest | {"format": 9}).encode()}, sign=False
    )
    with pytest.raises(BadFile, match="format 9; this program reads 1"):
        read_bundle(changed)


def test_a_bundle_is_kept_once_and_found_by_its_name(plain: bytes, tmp_path: Path) -> None:
    db = tmp_path / "other machine.duckdb"
    name = keep(db, plain)
    assert keep(db, plain) == name
    assert [path.name for path in bundle_folder(db).iterdir()] == [f"{name}.zip"]
    assert bundle_kind(bundle_folder(db) / f"{name}.zip") == "pair"
    assert restored(kept(db, name)).differences == ()
    for unknown in ("nosuch", "../other", ""):
        with pytest.raises(BadFile, match="is kept here"):
            kept(db, unknown)
    with pytest.raises(BadFile):
        keep(db, b"rubbish")


def test_a_pair_without_bars_makes_no_bundle(filled: Store) -> None:
    with pytest.raises(NotEnoughData):
        write_bundle(filled, PairSpec("yusdt", "nosuch"), "1d", times())


def test_the_closes_are_those_of_the_file(plain: bytes) -> None:
    found = read_bundle(plain)
    assert found.legs.closes["symbol"].unique().sort().to_list() == ["xusdt", "yusdt"]
    assert found.legs.closes.filter(pl.col("ts") >= times().as_of).is_empty()
    assert {"manifest.json", "closes.parquet", "series.parquet", "results.json"} == MEMBERS
