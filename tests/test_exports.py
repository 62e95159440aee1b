"""What is written out is what the file holds, in forms that others can trust."""

from __future__ import annotations

import dataclasses
import errno
import io
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made import START_MS, trades_frame

from core import queries
from core.bundle import Times, read_bundle, restored, write_bundle
from core.errors import ConfigError, StoreFull
from core.exporting import (
    bars_parts,
    csv_bytes,
    matrix_table,
    newest_bars,
    parquet_bytes,
    parts,
    trades_parts,
    write_parts,
)
from core.exports import main
from core.lake_job import move_days
from core.pair_spec import PairSpec, Provenance
from core.pairs import analyse_pair
from core.spreadsheet import harmless
from core.stats.correlation import CorrelationMatrix
from core.store import Store, open_store
from core.trade_writer import write_trades

START = datetime(1970, 1, 1) + timedelta(milliseconds=START_MS)
END = START + timedelta(minutes=20)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def full(tmp_path: Path) -> Store:
    """Fifteen minutes of three symbols, two of them in step, and a dataset of one."""
    store = open_store(tmp_path / "full.duckdb")
    store.prepare("binance")
    with store.write() as con:
        for symbol, factor in (("btcusdt", 1.0), ("ethusdt", 0.05)):
            frame = trades_frame(
                symbol, list(range(9000)),
                price=lambda i, f=factor: f * (100.0 + (i * 37 % 101) / 10 + i / 100),
            )  # fmt: skip
            write_trades(con, frame, now_ms=START_MS)
        other = trades_frame(
            "solusdt", list(range(9000)), price=lambda i: 20 + (i * 37 % 101 + i * i % 89) / 70
        )
        write_trades(con, other, now_ms=START_MS)
        con.execute(
            "insert into uploaded_trades select 'mine', symbol, agg_id, ts, price, size, 'buy', 0 "
            "from trades where symbol = 'btcusdt' and agg_id < 700"
        )
        con.execute(
            "insert into bars_1min select 'btcusdt@mine', * exclude (symbol) from bars_1min "
            "where symbol = 'btcusdt'"
        )
        con.execute(
            "insert into dataset_symbols select 'mine', 'btcusdt', 700, min(ts), max(ts) "
            "from uploaded_trades"
        )
    return store


def run(store: Store, *words: str) -> int:
    return main([*words, "--db", str(store.path)])


def test_bars_are_those_of_the_page(full: Store, tmp_path: Path) -> None:
    out = tmp_path / "bars.parquet"
    assert run(full, "bars", "BTCUSDT", "ethusdt", "--timeframe", "5s", "--out", str(out)) == 0
    with full.read() as con:
        expected = queries.load_bars(con, ["btcusdt", "ethusdt"], "5s", START, END)
    assert pl.read_parquet(out).equals(expected)
    assert expected.height > 300


def spans_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[datetime, datetime]]:
    """Return a list that grows with each stretch of bars that is read."""
    found: list[tuple[datetime, datetime]] = []

    def load(con: object, symbols: list[str], timeframe: str, *span: datetime) -> pl.DataFrame:
        found.append((span[0], span[1]))
        return queries.load_bars(con, symbols, timeframe, *span)  # type: ignore[arg-type]

    monkeypatch.setattr(parts, "load_bars", load)
    return found


@pytest.mark.parametrize(
    ("timeframe", "base_s"), [("1s", 1), ("15s", 1), ("1min", 60), ("5min", 60)]
)
def test_a_lease_reads_so_many_stored_bars_whatever_is_made_of_them(
    full: Store, monkeypatch: pytest.MonkeyPatch, timeframe: str, base_s: int
) -> None:
    with full.read() as con:
        expected = queries.load_bars(con, ["btcusdt"], timeframe, START, END)
    lease_s = 4 * base_s if base_s == 60 else 100
    monkeypatch.setattr(parts, "BARS_A_LEASE", lease_s // base_s)
    spans = spans_read(monkeypatch)
    assert pl.concat(bars_parts(full, ["btcusdt"], timeframe, START, END)).equals(expected)
    assert len(spans) == 1200 / lease_s
    assert all(end - begin <= timedelta(seconds=lease_s) for begin, end in spans)
    spans.clear()
    found = newest_bars(full, "btcusdt", timeframe, START, END, most=expected.height - 1)
    assert found.equals(expected[1:])
    # Where nothing was found, four times as long a stretch is looked at.
    assert all(end - begin <= 4 * timedelta(seconds=lease_s) for begin, end in spans)


@pytest.mark.parametrize("most", [1, 7, 40, 1000])
@pytest.mark.parametrize("lease", [10, 500, 150_000])
def test_the_newest_bars_are_found_however_rare_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, lease: int
) -> None:
    monkeypatch.setattr(parts, "BARS_A_LEASE", lease)
    store = open_store(tmp_path / "rare.duckdb")
    store.prepare("binance")
    early = trades_frame("rareusdt", list(range(30)), step_ms=4_000)
    late = trades_frame("rareusdt", list(range(5000, 5030)), step_ms=997)
    with store.write() as con:
        write_trades(con, pl.concat([early, late]), now_ms=START_MS)
        whole = queries.load_bars(con, ["rareusdt"], "1s", START, START + timedelta(days=1))
    last = whole["ts"][-1]
    for end in (last + timedelta(seconds=1), last, whole["ts"][29], START):
        found = newest_bars(store, "rareusdt", "1s", START, end, most=most)
        expected = whole.filter(pl.col("ts") < end).tail(most)
        assert found.height == expected.height
        assert found.is_empty() or found.equals(expected)


def test_a_range_is_half_open_and_counts_back(full: Store, tmp_path: Path) -> None:
    begin, end = START + timedelta(minutes=2), START + timedelta(minutes=5)
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    times = ("--from", begin.isoformat(), "--to", f"{end.isoformat()}+00:00")
    assert run(full, "bars", "btcusdt", "--timeframe", "1s", *times, "--out", str(one)) == 0
    back = ("--from", "3min", "--to", end.isoformat())
    assert run(full, "bars", "btcusdt", "--timeframe", "1s", *back, "--out", str(other)) == 0
    found = pl.read_csv(one, try_parse_dates=True)
    assert found.height == 180
    assert one.read_text() == other.read_text()
    assert one.read_text().splitlines()[1].startswith(f"btcusdt,{begin:%Y-%m-%dT%H:%M:%S}.000Z,")


def test_trades_are_all_there_part_by_part(
    full: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "TRADES_A_LEASE", 1000)
    pieces = list(trades_parts(full, "btcusdt", START, END))
    assert len(pieces) > 4
    out = tmp_path / "trades.parquet"
    assert run(full, "trades", "btcusdt", "--out", str(out)) == 0
    with full.read() as con:
        expected = queries.load_trades(con, "btcusdt", START, END)
    assert pl.concat(pieces).equals(expected)
    assert pl.read_parquet(out).equals(expected)
    assert expected.height == 9000


def test_trades_of_a_range_that_cuts_minutes(full: Store) -> None:
    begin, end = START + timedelta(seconds=61.3), START + timedelta(seconds=95.25)
    found = pl.concat(trades_parts(full, "btcusdt", begin, end))
    with full.read() as con:
        assert found.equals(queries.load_trades(con, "btcusdt", begin, end))
    assert found["agg_id"].to_list() == list(range(613, 953))


def test_trades_of_a_dataset_are_its_own(full: Store, tmp_path: Path) -> None:
    out = tmp_path / "mine.csv"
    assert run(full, "trades", "btcusdt@mine", "--out", str(out)) == 0
    found = pl.read_csv(out)
    assert found.columns == ["dataset", "symbol", "id", "ts", "price", "size", "side"]
    assert found["id"].to_list() == list(range(700))


def test_a_pair_is_what_the_page_shows(full: Store, tmp_path: Path) -> None:
    out = tmp_path / "pair.parquet"
    times = ("--from", START.isoformat(), "--to", END.isoformat())
    words = ("pair", "btcusdt", "ethusdt", "--timeframe", "1s", "--method", "rolling")
    assert run(full, *words, "--window", "30", *times, "--out", str(out)) == 0
    spec = PairSpec("btcusdt", "ethusdt", "1s", method="rolling", window_bars=30)
    series = analyse_pair(full, spec, START, END).series
    found = pl.read_parquet(out)
    assert found.columns == [
        "ts", "spread", "zscore", "corr", "price_y", "price_x", "beta", "alpha",
    ]  # fmt: skip
    assert found.equals(series.select(found.columns))


def test_a_summary_has_every_number_of_the_analysis(full: Store, tmp_path: Path) -> None:
    out = tmp_path / "summary.parquet"
    words = ("summary", "btcusdt", "solusdt", "--timeframe", "1s", "--from", START.isoformat())
    words += ("--to", END.isoformat(), "--method", "kalman", "--burn-in", "300", "--raw")
    assert run(full, *words, "--out", str(out)) == 0
    spec = PairSpec("btcusdt", "solusdt", "1s", False, "kalman", burn_in_bars=300)
    analysis = analyse_pair(full, spec, START, END)
    found = pl.read_parquet(out)
    numbers = dict(found.drop_nulls("value").select("name", "value").iter_rows())
    assert analysis.ols.value is not None
    assert numbers["ols.beta"] == analysis.ols.value.beta
    assert numbers["now.zscore"] == analysis.series["zscore"][-1]
    assert numbers["corr_returns"] == analysis.corr_returns.value
    assert analysis.filter is not None
    assert numbers["filter.sd_z"] == analysis.filter.sd_z
    texts = dict(found.drop_nulls("text").select("name", "text").iter_rows())
    assert texts["verdict.kind"] in ("cointegrated", "noise", "short", "same")
    basis = [one.name for one in dataclasses.fields(Provenance)]
    assert found.columns == ["name", "value", "text", *basis]
    row = found.row(by_predicate=pl.col("name") == "ols.beta", named=True)
    assert {name: row[name] for name in basis} == dataclasses.asdict(analysis.ols.provenance)


def test_what_is_not_known_says_why(full: Store, tmp_path: Path) -> None:
    out = tmp_path / "summary.csv"
    times = ("--from", START.isoformat(), "--to", (START + timedelta(seconds=8)).isoformat())
    words = ("summary", "btcusdt", "solusdt", "--timeframe", "1s", *times, "--out", str(out))
    assert run(full, *words) == 0
    texts = dict(pl.read_csv(out).drop_nulls("text").select("name", "text").iter_rows())
    assert texts["verdict.reason"] == "8 bars; 100 are needed"
    assert "bars" in texts["johansen"]


def test_times_of_a_dataset_keep_their_microseconds(full: Store) -> None:
    with full.write() as con:
        con.execute("update uploaded_trades set ts = ts + interval 7 microseconds")
    text = csv_bytes(pl.concat(trades_parts(full, "btcusdt@mine", START, END))).decode()
    assert text.splitlines()[1].split(",")[3] == f"{START:%Y-%m-%dT%H:%M:%S}.000007Z"


def test_a_matrix_has_a_row_a_pair(full: Store, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    times = ("--from", START.isoformat(), "--to", END.isoformat())
    words = ("correlation", "btcusdt", "ethusdt", "--timeframe", "1s", *times, "--out", "-")
    assert run(full, *words) == 0
    found = pl.read_csv(capsysbinary.readouterr().out)
    assert found.columns == ["symbol_a", "symbol_b", "correlation", "bars"]
    assert found.height == 1
    assert found["correlation"][0] == pytest.approx(1.0, abs=1e-6)


MATRIX = ("correlation", "btcusdt", "ethusdt", "solusdt", "btcusdt", "--timeframe", "1s")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_matrix_is_written_as_a_matrix(full: Store, tmp_path: Path, form: str) -> None:
    out, pairs = tmp_path / f"matrix.{form}", tmp_path / "pairs.parquet"
    assert run(full, *MATRIX, "--matrix", "--out", str(out)) == 0
    assert run(full, *MATRIX, "--out", str(pairs)) == 0
    found = pl.read_csv(out) if form == "csv" else pl.read_parquet(out)
    names = ["btcusdt", "ethusdt", "solusdt"]
    assert found.columns == ["symbol", *names]
    assert found["symbol"].to_list() == names
    values = found.select(names).to_numpy()
    assert (values == values.T).all()
    assert values.diagonal() == pytest.approx(1.0, abs=1e-12)
    assert pl.read_parquet(pairs).height == 3
    for one, other, value, _ in pl.read_parquet(pairs).iter_rows():
        assert values[names.index(one), names.index(other)] == value


def test_what_a_matrix_does_not_know_is_empty() -> None:
    values = np.array([[1.0, np.nan, 0.5], [np.nan, np.nan, np.nan], [0.5, np.nan, 1.0]])
    matrix = CorrelationMatrix(("a", "b", "c"), values, np.ones((3, 3), np.int64), "pearson")
    assert csv_bytes(matrix_table(matrix, (2, 0, 1))) == (
        b"symbol,c,a,b\nc,1.0,0.5,\na,0.5,1.0,\nb,,,\n"
    )


def test_a_bundle_from_a_script_is_that_of_the_page_s_code(full: Store, tmp_path: Path) -> None:
    out = tmp_path / "pair.zip"
    spec = PairSpec(
        "btcusdt", "solusdt", "1s", False, "refit", window_bars=30, min_turnover=0.001,
        carry_bars=2, refit_bars=40, burn_in_bars=300,
    )  # fmt: skip
    at = [START + timedelta(seconds=seconds) for seconds in (60, 840, 45, 800.5)]
    times = Times(*at, 755.5)
    words = ("--timeframe", "1s", "--raw", "--method", "refit", "--window", "30", "--carry", "2")
    words += ("--min-turnover", "0.001", "--hold", "40", "--burn-in", "300", "--out", str(out))
    for name, moment in zip(("from", "to", "judged-from", "judged-to"), at, strict=True):
        words += (f"--{name}", moment.isoformat())
    assert run(full, "bundle", "BTCUSDT", "solusdt", *words) == 0
    here = read_bundle(write_bundle(full, spec, "15m", times))
    there = restored(read_bundle(out.read_bytes()))
    assert there.differences == ()
    assert (there.bundle.spec, there.bundle.times) == (spec, times)
    assert there.bundle.results == here.results
    assert there.bundle.series.equals(here.series)
    assert there.bundle.legs.closes.equals(here.legs.closes)
    assert there.bundle.results["verdict"]["kind"] != "short"


def test_a_bundle_is_judged_on_what_it_shows_unless_said(
    full: Store, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run(full, "bundle", "btcusdt", "ethusdt", "--timeframe", "1s", "--out", "-") == 0
    found = restored(read_bundle(capsysbinary.readouterr().out))
    times = found.bundle.times
    assert (times.judged_from, times.judged_at) == (times.start, times.as_of)
    assert found.differences == ()
    assert found.analysis.series.height == 900


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("bundle", "btcusdt", "solusdt", "--out", "x.csv"), 2, "end it in .zip"),
        (("bundle", "btcusdt", "--out", "x.zip"), 2, "a pair has two"),
        (
            ("bundle", "btcusdt", "solusdt", "--out", "x.zip", "--judged-to", "2100-01-01"),
            2,
            "a range that ends by",
        ),
        (("bars", "btcusdt", "--matrix", "--out", "x.csv"), 2, "leave it out"),
        (("bars", "btcusdt", "--out", "no/such/x.csv"), 1, "no/such/x.csv cannot be written: "),
        (("bars", "btcusdt", "--out", "no/such/x.csv"), 1, "/no/such; make it first"),
        (("bundle", "btcusdt", "solusdt", "--out", "no/x.zip"), 1, "no/x.zip cannot be written"),
        (("bars", "nosuch", "--out", "x.csv"), 2, "nothing is held of nosuch"),
        (("bars", "btcusdt", "--out", "x.txt"), 2, "says no format"),
        (("bars", "btcusdt", "--out", "x.csv", "--from", "2030-01-01"), 2, "is no range"),
        (("bars", "btcusdt", "--out", "x.csv", "--from", "yesterday"), 2, "not a duration"),
        (("trades", "btcusdt", "ethusdt", "--out", "x.csv"), 2, "one at a time"),
        (("pair", "btcusdt", "--out", "x.csv"), 2, "a pair has two"),
        (
            ("bars", "btcusdt", "--out", "x.csv", "--from", "2020-01-01", "--to", "2020-01-02"),
            1,
            "there are no 1min bars of btcusdt",
        ),
        (("correlation", "btcusdt", "--out", "x.csv"), 1, "needs at least 2"),
    ],
)
def test_what_cannot_be_written_says_why(
    full: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").write_text("kept")
    assert run(full, *words) == status
    assert said in capsys.readouterr().err
    assert (tmp_path / "x.csv").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.glob("*x.*")) == ["x.csv"]


def test_the_command_runs_by_its_name(full: Store, tmp_path: Path) -> None:
    out = tmp_path / "bars.csv"
    done = subprocess.run(
        [sys.executable, "-m", "core.exports", "bars", "btcusdt", "--db", str(full.path),
         "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{out}: 16 rows\n"
    assert len(out.read_text().splitlines()) == 17


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_disarmed(start: str) -> None:
    frame = pl.DataFrame(
        {f"{start}name": [f"{start}cmd|' /C calc'!A0", "plain", None], "n": [-1, 2, 3]}
    )
    found = pl.read_csv(io.BytesIO(csv_bytes(frame)))
    assert found.columns == [f"'{start}name", "n"]
    assert found[f"'{start}name"].to_list() == [f"'{start}cmd|' /C calc'!A0", "plain", None]
    assert found["n"].to_list() == [-1, 2, 3]


def test_parquet_keeps_text_as_it_is() -> None:
    frame = pl.DataFrame({"a": ["=1", "币安人生usdt"], "b": [0.1, np.pi]})
    assert pl.read_parquet(parquet_bytes(frame)).equals(frame)
    assert harmless(frame)["a"].to_list() == ["'=1", "币安人生usdt"]


def test_a_failure_halfway_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    out.write_text("kept")

    def failing():  # type: ignore[no-untyped-def]
        yield pl.DataFrame({"a": [1]})
        raise OSError("the disk is full")

    with pytest.raises(ConfigError, match=r"x\.parquet cannot be written: the disk is full"):
        write_parts(failing(), str(out), "parquet")
    assert out.read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


REFUSALS = [
    (errno.ENOSPC, StoreFull, "was not written: the disk of .* is full; make room"),
    (errno.EACCES, ConfigError, "cannot be written: no permission in "),
    (errno.EROFS, ConfigError, "cannot be written: no permission in "),
    (errno.EIO, ConfigError, "cannot be written: Input/output error"),
]


@pytest.mark.parametrize(("code", "kind", "said"), REFUSALS)
def test_what_the_system_refuses_is_said_of_the_path_that_was_given(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: type[Exception],
    said: str,
) -> None:
    out = tmp_path / "x.csv"

    def refuse(path: Path, *_: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(kind, match=said) as found:
        write_parts([pl.DataFrame({"a": [1]})], str(out), "csv")
    assert str(out) in str(found.value)
    assert ".part" not in str(found.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_place_for_a_file_s_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        write_parts([pl.DataFrame({"a": [1]})], str(tmp_path / "x.csv"), "csv")


@pytest.mark.skipif(sys.platform == "win32", reason="no such rights there")
def test_a_folder_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("who runs this may write everywhere")
    with pytest.raises(ConfigError, match=rf"x\.csv cannot be written: no permission in {locked};"):
        write_parts([pl.DataFrame({"a": [1]})], str(locked / "x.csv"), "csv")


def test_the_help_says_what_stands_in_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "trades counts aggregate trades in bars from trades, and the exchange's raw" in text


def test_days_in_the_lake_are_exported_with_the_rest(full: Store, tmp_path: Path) -> None:
    with full.read() as con:
        before = queries.load_trades(con, "btcusdt", START, END)
        newest = queries.load_newest_trades(con, "btcusdt", START, END, limit=100)
    moved = move_days(full, str(tmp_path / "lake"), START.date() + timedelta(days=2))
    assert moved.moved == 27_000
    with full.read() as con:
        assert con.execute("select count(*) from trades").fetchall() == [(0,)]
        assert queries.load_newest_trades(con, "btcusdt", START, END, limit=100).equals(newest)
    assert pl.concat(trades_parts(full, "btcusdt", START, END)).equals(before)


def test_the_newest_trades_of_a_dataset_are_its_own(full: Store) -> None:
    with full.read() as con:
        found = queries.load_newest_trades(con, "btcusdt@mine", START, END, limit=3)
        own = queries.load_trades(con, "btcusdt@mine", START, END)
    assert found.rows() == [(ts, price) for ts, price in own.select("ts", "price").rows()[-3:]]
