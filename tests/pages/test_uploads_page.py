"""Bringing data through the page: what waits, the preview, the commit, the way out again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.bundle import Times, write_bundle
from core.bundle_kept import bundle_folder
from core.pair_spec import PairSpec
from core.store import Store
from pages.shared.bring import suggested
from pages.shared.uploads import arrivals
from tests.pages.test_pages import words

DATA = "pages/operate/data.py"
App = Callable[..., AppTest]
MINUTE = 60_000
START = 1_760_000_000_000 // (15 * MINUTE) * (15 * MINUTE)


def bars_csv(rows: int = 90, *, step_ms: int = MINUTE, extra: str = "") -> str:
    lines = [
        f"{START + n * step_ms},{100 + n},{102 + n},{99 + n},{101 + n},{n + 0.5},x"
        for n in range(rows)
    ]
    return "\n".join(["TS,Open,High,Low,Close,Volume,Other", *lines, *filter(None, [extra])]) + "\n"


def bring(app: App, db: Path, **files: str | bytes) -> AppTest:
    """Open the page after files have arrived; names are told as ``name__suffix``."""
    folder = arrivals(db, "session")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("__", ".").replace("_", "-")).write_bytes(data)
    return app(DATA, section="Bring data")


def button(page: AppTest, label: str) -> Any:
    return next(one for one in page.button if one.label.startswith(label))


def table(page: AppTest, column: str) -> Any:
    return next(one.value for one in page.dataframe if column in one.value.columns)


def bar_sets(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as con:
        return con.execute(
            "select symbol, timeframe, origin, rows from uploaded_bar_sets order by all"
        ).fetchall()


def test_bars_are_seen_before_they_are_kept_and_can_be_deleted(app: App, full: Store) -> None:
    page = bring(app, full.path, BTCUSDT_1m__csv=bars_csv(extra=f"{START},oops,1,1,1,1,x"))
    assert "90 bars" in words(page)
    assert "91 rows read" in words(page)
    assert "1 rejected" in words(page)
    assert page.text_input[0].value == "btcusdt"
    assert page.selectbox[-1].value == "1min"
    preview = table(page, "open")
    assert list(preview["close"][:3]) == [101.0, 102.0, 103.0]
    assert bar_sets(full) == []

    button(page, "Keep 90 bars").click().run()
    assert not page.exception
    assert "90 bars of BTCUSDT (1m) kept" in "\n".join(one.value for one in page.success)
    assert bar_sets(full) == [("btcusdt", "1min", "BTCUSDT-1m.csv", 90)]
    assert "Nothing waits here" in words(page)

    page = app(DATA, section="Stored")
    listed = table(page, "origin")
    assert listed[["symbol", "timeframe", "rows"]].values.tolist() == [["BTCUSDT", "1m", 90]]
    chosen = page.selectbox(key="delete-bars")
    sure = page.button(key="delete-bars-sure")
    assert sure.disabled
    chosen.select_index(0).run()
    page.button(key="delete-bars-sure").click().run()
    assert not page.exception
    assert bar_sets(full) == []
    with full.read() as con:
        assert con.execute("select count(*) from uploaded_bars").fetchall() == [(0,)]


def test_a_wrong_timeframe_is_caught_from_the_spacing(app: App, full: Store) -> None:
    page = bring(app, full.path, BTCUSDT__csv=bars_csv())
    page.selectbox[-1].select("1s").run()
    assert "60 s apart" in words(page)
    assert button(page, "Keep the bars").disabled
    page.selectbox[-1].select("1min").run()
    assert not button(page, "Keep 90 bars").disabled


def test_other_spacings_are_guessed(app: App, full: Store) -> None:
    page = bring(app, full.path, ETHUSDT__csv=bars_csv(30, step_ms=15 * MINUTE))
    assert page.selectbox[-1].value == "15min"
    assert page.text_input[0].value == "ethusdt"


def test_bars_that_exist_are_named_before_they_are_replaced(app: App, full: Store) -> None:
    page = bring(app, full.path, BTCUSDT__csv=bars_csv())
    button(page, "Keep 90 bars").click().run()
    page = bring(app, full.path, BTCUSDT__csv=bars_csv(40))
    assert "uploaded 1m bars already" in words(page)


def test_bars_that_are_refused_show_which_rows_are_why(app: App, full: Store) -> None:
    bad = "\n".join(f"{START},oops{n},1,1,1,1,x" for n in range(30))
    page = bring(app, full.path, BTCUSDT__csv=bars_csv(20, extra=bad))
    assert "more than half" in words(page)
    assert button(page, "Keep the bars").disabled
    assert len(page.table[0].value) == 10
    assert "oops0" in str(page.table[0].value)


def test_bars_without_a_symbol_cannot_be_kept(app: App, full: Store) -> None:
    page = bring(app, full.path, BTCUSDT__csv=bars_csv())
    page.text_input[0].set_value(" ").run()
    assert button(page, "Keep").disabled


def test_a_file_that_fits_nothing_is_named_and_can_be_removed(app: App, full: Store) -> None:
    page = bring(app, full.path, notes__txt="dear diary\n")
    assert "notes.txt" in words(page)
    assert "What cannot be used" in words(page)
    button(page, "Remove what cannot be used").click().run()
    assert "notes.txt" not in words(page)
    assert list(arrivals(full.path, "session").iterdir()) == []


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been imported."""
    calls: list[tuple[Any, ...]] = []

    def start(db: Path, paths: list[Path], **options: object) -> None:
        calls.append((db, paths, options))

    monkeypatch.setattr("pages.shared.bring.start_import", start)
    return calls


NDJSON = '{"symbol":"btcusdt","ts":"2026-01-02T03:04:05Z","price":1.5,"size":2}\n'


def test_ticks_need_a_dataset_and_its_name_is_suggested(
    app: App, full: Store, started: list[tuple[Any, ...]]
) -> None:
    page = bring(app, full.path, My_Ticks__ndjson=NDJSON)
    assert "ticks, into a dataset" in list(table(page, "kind")["kind"])
    assert page.text_input[0].value == "my-ticks"
    page.text_input[0].set_value("").run()
    assert button(page, "Import 1 file").disabled
    page.text_input[0].set_value("Mine").run()
    button(page, "Import 1 file").click().run()
    assert not page.exception
    [(db, [path], options)] = started
    assert db == full.path
    assert options == {"dataset": "mine", "delete_after": True}
    assert path.name == "My-Ticks.ndjson"
    assert path.read_text() == NDJSON
    assert "Nothing waits here" in words(page)


def test_a_checksum_goes_with_its_archive(
    app: App, full: Store, started: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    name = "BTCUSDT-trades-2026-09-01.zip"
    data = archive(tmp_path / name)
    folder = arrivals(full.path, "session")
    folder.mkdir(parents=True)
    (folder / f"{name}.CHECKSUM").write_text("0" * 64 + f"  {name}\n")
    page = app(DATA, section="Bring data")
    assert "bring its archive as well" in words(page)
    (folder / name).write_bytes(data)
    page.run()
    assert list(table(page, "checksum")["checksum"]) == ["beside it"]
    button(page, "Import 1 file").click().run()
    [(_, [path], _)] = started
    assert path.with_name(f"{name}.CHECKSUM").exists()
    assert list(folder.iterdir()) == []


def archive(path: Path) -> bytes:
    import zipfile

    with zipfile.ZipFile(path, "w") as made:
        made.writestr(f"{path.stem}.csv", "1,1.5,2,3.0,1760000000000,true\n")
    return path.read_bytes()


def test_a_start_that_fails_says_why(
    app: App, full: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no process today")

    monkeypatch.setattr("pages.shared.bring.start_import", fail)
    page = bring(app, full.path, ticks__ndjson=NDJSON)
    button(page, "Import 1 file").click().run()
    assert "No process today" in words(page)
    assert list(table(page, "kind")["name"]) == ["ticks.ndjson"]


def test_a_name_that_no_dataset_may_have_is_refused_and_the_file_waits_on(
    app: App, full: Store
) -> None:
    page = bring(app, full.path, ticks__ndjson=NDJSON)
    page.text_input[0].set_value("a@b").run()
    button(page, "Import 1 file").click().run()
    assert "a@b" in words(page)
    assert list(table(page, "kind")["name"]) == ["ticks.ndjson"]
    assert (arrivals(full.path, "session") / "ticks.ndjson").read_text() == NDJSON


def test_the_same_bars_again_change_nothing(app: App, full: Store) -> None:
    for told in ("90 bars of BTCUSDT (1m) kept", "Nothing changed"):
        page = bring(app, full.path, BTCUSDT__csv=bars_csv())
        button(page, "Keep 90 bars").click().run()
        assert told in page.success[0].value


def test_the_first_data_make_the_file(app: App, home: Path) -> None:
    page = bring(app, home / "perpduck.duckdb", BTCUSDT__csv=bars_csv())
    button(page, "Keep 90 bars").click().run()
    assert not page.exception
    assert (home / "perpduck.duckdb").exists()
    assert "BTCUSDT" in "\n".join(one.value for one in page.success)


def test_a_bundle_is_opened_listed_and_deleted(app: App, full: Store) -> None:
    page = bring(app, full.path, view__zip=made_bundle(full))
    assert "A pair view" in words(page)
    page.button(key="open-bundle-0").click().run()
    assert not page.exception
    [path] = bundle_folder(full.path).glob("*.zip")
    [link] = [one for one in page.get("page_link") if "bundle" in one.proto.label]
    assert link.proto.query_string == f"bundle={path.stem}"
    page = app(DATA, section="Stored")
    assert any("ETHUSDT and BTCUSDT · 1m" in one.proto.label for one in page.get("page_link"))
    page.selectbox(key="delete-saved view").select_index(0).run()
    page.button(key="delete-saved view-sure").click().run()
    assert not path.exists()
    assert "Saved views" not in words(page)


def made_bundle(store: Store) -> bytes:
    with store.read() as con:
        [(last,)] = con.execute("select max(ts) from bars_1min").fetchall()
    start = last - timedelta(minutes=25)
    return write_bundle(
        store, PairSpec("ethusdt", "btcusdt"), "15m", Times(start, last, start, last, 1500.0)
    )


def test_a_bundle_that_was_changed_is_refused(app: App, full: Store) -> None:
    data = bytearray(made_bundle(full))
    data[200] ^= 255
    page = bring(app, full.path, view__zip=bytes(data))
    if any(one.key == "open-bundle-0" for one in page.button):
        page.button(key="open-bundle-0").click().run()
    assert not page.exception
    assert "view.zip" in words(page)
    assert not list(bundle_folder(full.path).glob("*.zip"))


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("My Ticks (1).ndjson.gz", "my-ticks-1"),
        ("币安人生.csv", "币安人生"),
        ("a@b.csv", "a-b"),
        ("...", "my-ticks"),
        ("x" * 90 + ".csv", "x" * 40),
    ],
)
def test_names_of_datasets_are_made_of_the_files(name: str, dataset: str) -> None:
    assert suggested(Path(name)) == dataset
