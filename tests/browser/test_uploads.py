"""Real files of each kind, brought by a real browser: uploaded, imported, seen."""

from __future__ import annotations

import datetime
import gzip
import re
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from core.bundle import Times, write_bundle
from core.feed.practice import Market
from core.feed.practice.archive import write_archives
from core.importing.jobs import ACTIVE, load_job
from core.pair_spec import PairSpec
from core.store import open_store
from tests.browser.conftest import PHONE, WIDE, ChartPage, Server, serving, wait_until
from tests.pages.conftest import fill

Open = Callable[..., ChartPage]
ROWS = 3000
DAY = date(2026, 9, 12)
START_MS = 1_760_000_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a home of its own where no file is yet."""
    with serving(tmp_path_factory.mktemp("uploads")) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file of each kind."""
    folder = tmp_path_factory.mktemp("files")
    ticks = pl.DataFrame(
        {
            "symbol": ["BTCUSDT"] * ROWS,
            "ts": [START_MS + 700 * n for n in range(ROWS)],
            "price": [64_000 + n % 37 * 0.1 for n in range(ROWS)],
            "size": [(n % 29 + 1) / 1000 for n in range(ROWS)],
        }
    )
    lines = ticks.write_ndjson().encode()
    (folder / "plain.ndjson").write_bytes(lines + b'{"symbol": "BTCUSDT", "price": "dear"}\n')
    (folder / "packed.ndjson.gz").write_bytes(gzip.compress(lines))
    ticks.write_csv(folder / "table.csv")
    with pa.OSFile(str(folder / "strong.csv.zst"), "wb") as raw:
        with pa.CompressedOutputStream(raw, "zstd") as packed:
            packed.write(ticks.write_csv().encode())
    ticks.write_parquet(folder / "columns.parquet")
    with zipfile.ZipFile(folder / f"SOLUSDT-trades-{DAY}.zip", "w") as archive:
        text = "".join(
            f"{n},{150 + n % 7},{1 + n % 3},{150.0 * n},{START_MS + 400 * n},{n % 2 == 0}\n"
            for n in range(ROWS)
        )
        archive.writestr(f"SOLUSDT-trades-{DAY}.csv", text.lower())
    for path in write_archives(Market(7, 2.0), ["btcusdt"], DAY, DAY, folder / "exchange"):
        for one in (path, path.with_name(f"{path.name}.CHECKSUM")):
            one.replace(folder / one.name)
    bars = "".join(f"{START_MS // 60_000 * 60_000 + 60_000 * n},5,7,4,6,{n}\n" for n in range(120))
    (folder / "ETHUSDT-mine.csv").write_text("ts,open,high,low,close,volume\n" + bars)
    return folder


def ask(server: Server, query: str) -> list[tuple[Any, ...]]:
    path = server.home / "perpduck.duckdb"
    if not path.exists():
        return []
    with open_store(path).read() as con:
        return con.execute(query).fetchall()


def ended(folder: Path) -> bool:
    job = load_job(folder)
    return job is not None and job.state not in ACTIVE


class Data:
    """The section of the Data page that takes files."""

    def __init__(self, chart: ChartPage, server: Server) -> None:
        self.chart, self.page, self.server = chart, chart.page, server
        self.page.goto(f"{server.url}/data?source=binance&section=Bring+data")
        self.page.wait_for_selector(".pd-upload input", state="attached", timeout=60_000)

    def bring(self, *paths: Path) -> None:
        """Choose files and wait until the page has them."""
        self.page.set_input_files(".pd-upload input", [str(path) for path in paths])
        self.page.wait_for_selector('.pd-upload[data-waiting="0"]', timeout=30_000)
        # Until the zone has told the page, and the page has shown it: nobody clicks sooner.
        self.page.wait_for_timeout(800)

    def start(self, count: int, dataset: str | None = None) -> None:
        """Press the button that starts the import."""
        word = "file" if count == 1 else "files"
        button = self.page.get_by_role("button", name=re.compile(f"Import {count} {word}$"))
        button.wait_for(timeout=20_000)
        if dataset:
            field = self.page.get_by_label("Name of the dataset", exact=True)
            field.fill(dataset)
            field.press("Enter")
            self.page.wait_for_timeout(500)
        before = self.jobs()
        button.click()
        wait_until(lambda: self.jobs() - before, 30, "no job was begun")
        [self.begun] = self.jobs() - before

    def jobs(self) -> set[str]:
        """Return the names of all jobs that there are."""
        folder = self.server.home / "perpduck.duckdb.jobs"
        return {path.parent.name for path in folder.glob("*/job.json")}

    def job(self, words: str) -> None:
        """Wait for the job that was begun to end, and to say the words.

        Streamlit puts a new container's key on the old one's node before it takes the old words
        away: the words alone may be those of the job before.
        """
        folder = self.server.home / "perpduck.duckdb.jobs" / self.begun
        wait_until(lambda: ended(folder), 60, "the job did not end")
        shown = self.page.locator(f".st-key-job-{self.begun}")
        shown.get_by_text(words).first.wait_for(timeout=60_000)

    def shows(self, address: str) -> ChartPage:
        """Open Prices there and wait for its chart."""
        self.chart.open(f"{self.server.url}/{address}")
        return self.chart


TICKS = ("plain.ndjson", "packed.ndjson.gz", "table.csv", "strong.csv.zst", "columns.parquet")


@pytest.mark.parametrize("name", TICKS)
def test_ticks_of_each_kind_become_a_dataset_that_prices_shows(
    server: Server, made: Path, chart_page: Open, name: str
) -> None:
    dataset = f"d-{name.partition('.')[0]}"
    data = Data(chart_page(), server)
    data.bring(made / name)
    data.start(1, dataset)
    data.job(f"{ROWS:,} rows kept")
    query = "select dataset, symbol, trades from dataset_symbols"
    assert (dataset, "btcusdt", ROWS) in ask(server, query)
    if name == "plain.ndjson":
        data.page.get_by_text("1 rejected row, by line and reason").first.click()
        data.page.get_by_text("All rejected rows").first.wait_for()
    chart = data.shows(f"?source=binance&dataset={dataset}&range=all")
    assert "BTCUSDT" in chart.page.locator(".pd-readouts").inner_text()


def test_raw_trades_become_a_dataset(server: Server, made: Path, chart_page: Open) -> None:
    data = Data(chart_page(), server)
    data.bring(made / f"SOLUSDT-trades-{DAY}.zip")
    data.start(1, "raw")
    data.job(f"{ROWS:,} rows kept")
    query = "select symbol, trades from dataset_symbols where dataset = 'raw'"
    assert ask(server, query) == [("solusdt", ROWS)]
    data.shows("?source=binance&dataset=raw&range=all")


def test_archives_with_checksums_fill_the_live_market_and_agree(
    server: Server, made: Path, chart_page: Open
) -> None:
    data = Data(chart_page(), server)
    names = [f"BTCUSDT-{kind}-{DAY}.zip" for kind in ("aggTrades", "1m")]
    data.bring(*(made / name for name in names), *(made / f"{name}.CHECKSUM" for name in names))
    data.start(2)
    data.job("rows kept")
    [(trades, intervals)] = ask(
        server,
        "select (select count(*) from trades), (select count(*) from coverage)",
    )
    assert trades > 10_000
    assert intervals == 1
    data.page.goto(f"{server.url}/data?source=binance&section=Stored")
    data.page.get_by_text("minutes that can be compared equal").wait_for(timeout=30_000)
    data.shows("?source=binance&range=all")


def test_the_same_file_again_changes_nothing(server: Server, made: Path, chart_page: Open) -> None:
    data = Data(chart_page(), server)
    for words in (f"{ROWS:,} rows kept", "nothing changed"):
        data.bring(made / "table.csv")
        data.start(1, "twice")
        data.job(words)
    query = "select trades from dataset_symbols where dataset = 'twice'"
    assert ask(server, query) == [(ROWS,)]


def test_a_job_survives_a_reload_of_the_page(server: Server, made: Path, chart_page: Open) -> None:
    data = Data(chart_page(), server)
    data.bring(made / "table.csv")
    data.start(1, "reloaded")
    data.page.reload()
    data.job(f"{ROWS:,} rows kept")


def test_bars_are_previewed_kept_shown_and_deleted(
    server: Server, made: Path, chart_page: Open
) -> None:
    data = Data(chart_page(), server)
    data.bring(made / "ETHUSDT-mine.csv")
    page = data.page
    page.get_by_text("120 rows read").first.wait_for(timeout=20_000)
    page.get_by_role("button", name="Keep 120 bars").click()
    page.get_by_text("120 bars of ETHUSDT (1m) kept").wait_for(timeout=20_000)
    query = "select symbol, timeframe, rows from uploaded_bar_sets"
    assert ask(server, query) == [("ethusdt", "1min", 120)]
    data.shows("?source=binance&symbols=ETHUSDT&timeframe=1m&range=all")
    # Their volumes (0 to 119) have no side: they are drawn, and the axis fits them.
    axis = "document.querySelector('.pd-chart .js-plotly-plot')._fullLayout.yaxis2.range"
    wait_until(lambda: page.evaluate(axis)[1] > 119, 20, "the volumes are not in sight")
    assert "NaN" not in page.locator(".pd-chart").inner_text()
    page.goto(f"{server.url}/data?source=binance&section=Stored")
    page.get_by_role("button", name="Delete bars").click()
    page.locator(".st-key-delete-bars").get_by_role("combobox").click()
    page.get_by_text("ETHUSDT 1m · 120 bars").click()
    page.get_by_role("button", name="Delete for good").click()
    wait_until(lambda: ask(server, query) == [], 20, "the bars are still there")


def test_a_bundle_shows_its_pair_view_where_no_data_are(
    server: Server, chart_page: Open, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "elsewhere.duckdb")
    store.prepare("practice:7")
    fill(store, minutes=60)
    with store.read() as con:
        [(last,)] = con.execute("select max(ts) from bars_1min").fetchall()
    start = last - datetime.timedelta(minutes=50)
    times = Times(start, last, start, last, 3000.0)
    path = tmp_path / "view.zip"
    path.write_bytes(write_bundle(store, PairSpec("ethusdt", "solusdt"), "1h", times))
    data = Data(chart_page(), server)
    data.bring(path)
    data.page.get_by_role("button", name="Open view").click()
    data.page.get_by_role("link", name="Open the pair view of the bundle").click()
    data.chart.wait_for_chart()
    assert "bundle=" in data.page.url
    assert "ETHUSDT" in data.page.locator(".st-key-bundle-line").inner_text()


def test_a_file_that_fits_nothing_is_named(
    server: Server, chart_page: Open, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("dear diary\n")
    data = Data(chart_page(), server)
    data.bring(tmp_path / "notes.txt")
    data.page.get_by_text("What cannot be used.").wait_for(timeout=20_000)
    data.page.get_by_role("button", name="Remove what cannot be used").click()
    data.page.get_by_text("What cannot be used.").wait_for(state="detached", timeout=20_000)


DROP = """([name, text]) => {
  const dataTransfer = new DataTransfer()
  dataTransfer.items.add(new File([text], name))
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.querySelector(".pd-drop").dispatchEvent(
      new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }))
  }
}"""


def test_files_can_be_dropped(server: Server, chart_page: Open) -> None:
    data = Data(chart_page(), server)
    data.page.evaluate(DROP, ["dropped 币.txt", "dear diary"])
    data.page.get_by_text("dropped 币.txt").first.wait_for(timeout=20_000)
    data.page.get_by_role("button", name="Remove what cannot be used").click()


def test_an_upload_can_be_cancelled_and_an_empty_file_is_refused(
    server: Server, chart_page: Open, tmp_path: Path
) -> None:
    big, empty = tmp_path / "big.csv", tmp_path / "empty.csv"
    empty.touch()
    with big.open("wb") as file:
        file.truncate(40 << 20)
    chart = chart_page()
    chart.page.route("**/perpduck/upload?**", lambda route: held(route, big.name))
    data = Data(chart, server)
    data.page.set_input_files(".pd-upload input", [str(big), str(empty)])
    row = data.page.locator(".pd-upload li", has_text="empty.csv")
    row.get_by_text("The file is empty").wait_for()
    assert data.page.locator(".pd-upload li", has_text="big.csv").count() == 1
    for name in ("big.csv", "empty.csv"):
        data.page.get_by_role("button", name=f"Cancel {name}").click()
    data.page.wait_for_selector('.pd-upload[data-waiting="0"]')
    folder = server.home / "perpduck.duckdb.jobs"
    assert not [path for path in folder.rglob("*") if path.name == big.name]


def held(route: Any, name: str) -> None:
    """Let the question through, and never the body of that file."""
    if route.request.method == "POST" or name not in route.request.url:
        route.continue_()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_screens_fit_and_are_kept(
    server: Server, made: Path, chart_page: Open, scheme: str, size: dict[str, int]
) -> None:
    name = "wide" if size is WIDE else "phone"
    chart = chart_page(color_scheme=scheme, viewport={**size, "height": 1400})
    data = Data(chart, server)
    data.bring(made / "ETHUSDT-mine.csv", made / "table.csv")
    data.page.get_by_text("120 rows read").first.wait_for(timeout=20_000)
    for section in ("Bring+data", "Stored"):
        data.page.goto(f"{server.url}/data?source=binance&section={section}")
        data.page.wait_for_timeout(2500)
        assert data.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        chart.shoot(f"data-{section.split('+')[0].lower()}-{name}-{scheme}")
