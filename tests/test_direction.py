"""The design's direction, read from the imports: who may know whom, and one gate to the file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "core").rglob("*.py"))
PAGES = [ROOT / "streamlit_app.py", *sorted((ROOT / "pages").rglob("*.py"))]
PRODUCT = [*CORE, *PAGES, ROOT / "ingest_worker.py"]

# The file's gate: the store, its own room, and nobody else.
GATE = {"core/store.py", "core/store_file.py"}
DUCKDB = GATE | {"core/queries.py"}
# What only parses or computes: no database, no network, no screen.
PURE = (
    "core/alert_charts.py",
    "core/alerts/machine.py",
    "core/alerts/metrics.py",
    "core/alerts/rules.py",
    "core/charts.py",
    "core/palette.py",
    "core/quiet.py",
    "core/summary.py",
    "core/models.py",
    "core/errors.py",
    "core/feed/messages.py",
    "core/feed/gaps.py",
    "core/reading/",
    "core/stats/",
    "core/backtest/",
    "core/backtests/charts.py",
    "core/backtests/check_charts.py",
    "core/bundle_members.py",
    "core/scan_charts.py",
    "core/scanning/report.py",
    "core/scanning/settings.py",
    "core/scanning/words.py",
)
# Who may not know whom: each way in, way out and store of data stands for itself, so that one can
# be changed without a look at the others. A name stands for its parts too: core.lake_job.
WAYS = ("core.importing", "core.imports", "core.exporting", "core.exports", "core.bundle")
STORE = ("core.store", "core.queries", "core.commands", "core.trade_writer", "core.workbench")
WORKER = ("core.ingest", "core.history", "core.backfill", "core.funding", "core.errands")
KNOWS_NOT = {
    "core/reading": (*STORE, *WAYS, *WORKER, "core.lake", "core.backtest", "core.stats"),
    "core/importing": (
        "core.exporting", "core.exports", "core.bundle", "core.lake", "core.backtest",
        "core.stats", "core.queries", "core.pairs", *WORKER,
    ),
    "core/exporting": (
        "core.importing", "core.imports", "core.reading", "core.lake", "core.bundle",
        "core.backtest", "core.trade_writer", "core.commands", "core.feed", *WORKER,
    ),
    "core/lake": (
        *WAYS, *WORKER, "core.reading", "core.backtest", "core.stats", "core.queries", "core.feed",
    ),
    "core/bundle": (
        "core.importing", "core.imports", "core.exporting", "core.exports", "core.reading",
        "core.lake", "core.backtest", "core.trade_writer", "core.commands", "core.feed", *WORKER,
    ),
    "core/history": (*WAYS, "core.reading", "core.lake", "core.backtest", "core.stats",
                     "core.queries"),
    "core/backtest": (
        *STORE, *WAYS, *WORKER, "core.reading", "core.lake", "core.feed", "core.backtests",
    ),
    "core/backtests": (
        "core.importing", "core.imports", "core.exporting", "core.exports", "core.bundle_kept",
        "core.reading", "core.lake", "core.trade_writer", "core.commands", "core.feed", *WORKER,
    ),
    "core/alerts": (
        *WAYS, *WORKER, "core.reading", "core.lake", "core.backtest", "core.backtests",
        "core.bundle_kept",
    ),
    "core/scanning": (
        *WAYS, *WORKER, "core.reading", "core.lake", "core.backtest", "core.backtests",
        "core.bundle_kept", "core.alerts", "core.feed", "core.api",
    ),
    "core/cluster": (*STORE, *WAYS, *WORKER, "core.stats", "core.backtest", "core.api"),
    "core/background": (*STORE, *WAYS, *WORKER, "core.stats", "core.backtest", "core.api"),
    "core/live": (*WAYS, *WORKER, "core.reading", "core.lake", "core.backtest", "core.backtests",
                  "core.alerts", "core.feed", "core.trade_writer", "core.commands"),
    "core/stats": (*STORE, *WAYS, *WORKER, "core.reading", "core.lake", "core.feed",
                    "core.backtest", "core.config", "core.pair_spec", "core.pairs", "core.alerts"),
    "core/queries": (*WAYS, *WORKER, "core.reading", "core.backtest", "core.stats", "core.alerts"),
    "core/store": (*WAYS, *WORKER, "core.reading", "core.backtest", "core.stats", "core.queries",
                   "core.lake", "core.feed", "core.alerts"),
}  # fmt: skip
# What stays out of reach over any number of imports, not only the module's own.
NEVER_REACHES = {
    "core/reading": ("duckdb", *STORE, "core.importing", "core.exporting"),
    "core/stats": ("duckdb", *STORE, "core.sql", "core.config"),
    "core/bar_sql": ("duckdb", *STORE),
}
NETWORK = {"websockets", "httpx", "aiohttp", "requests", "socket", "urllib.request"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Every module that the file imports, at any depth of the code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def reaches(path: Path, *modules: str) -> set[str]:
    return {
        name
        for name in imported(path)
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    }


def knows(names: set[str], unknown: tuple[str, ...]) -> set[str]:
    """Return which of the names are, or belong to, what should not be known."""
    return {
        name
        for name in names
        if any(re.match(rf"{re.escape(module)}(?:[._]|$)", name) for module in unknown)
    }


@cache
def file_of(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    files = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def reached(path: Path) -> set[str]:
    """Every module that is imported when the file is, with the packages above each."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        for name in imported(waiting.pop()):
            parts = name.split(".")
            for module in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
                if module not in found and (file_of(module) or module == parts[0]):
                    found.add(module)
                    waiting += [file] if (file := file_of(module)) else []
    return found


def ruled(rules: dict[str, tuple[str, ...]]) -> list[object]:
    return [
        pytest.param(path, unknown, id=f"{name_of(path)}, as {place}")
        for place, unknown in rules.items()
        for path in CORE
        if belongs(path, place)
    ]


def belongs(path: Path, place: str) -> bool:
    """Whether the file is the module or package of that place, or named as a part of it."""
    return bool(re.match(rf"{place}(?:/|_|\.py)", name_of(path)))


def params(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=name_of(path)) for path in paths if path.exists()]


@pytest.mark.parametrize("path", params([*CORE, ROOT / "ingest_worker.py"]))
def test_core_and_worker_know_neither_streamlit_nor_pages(path: Path) -> None:
    assert not reaches(path, "streamlit", "pages", "streamlit_app")


@pytest.mark.parametrize(("path", "unknown"), ruled(KNOWS_NOT))
def test_ways_in_and_out_do_not_know_each_other(path: Path, unknown: tuple[str, ...]) -> None:
    assert not knows(imported(path), unknown)


@pytest.mark.parametrize(("path", "unknown"), ruled(NEVER_REACHES))
def test_what_is_out_of_reach_over_any_import(path: Path, unknown: tuple[str, ...]) -> None:
    assert not knows(reached(path), unknown)


def test_every_rule_is_of_files_and_modules_that_there_are() -> None:
    for place, unknown in (KNOWS_NOT | NEVER_REACHES).items():
        assert any(belongs(path, place) for path in CORE), place
        for module in unknown:
            assert module == "duckdb" or file_of(module), module


@pytest.mark.parametrize("path", params(PRODUCT))
def test_only_the_store_and_the_queries_import_duckdb(path: Path) -> None:
    assert name_of(path) in DUCKDB or not reaches(path, "duckdb")


@pytest.mark.parametrize("path", params([p for p in CORE if name_of(p).startswith(PURE)]))
def test_what_only_computes_knows_no_store_no_network_no_screen(path: Path) -> None:
    assert not reaches(
        path, "duckdb", "core.store", "core.queries", "core.commands", "streamlit", *NETWORK
    )


@pytest.mark.parametrize("path", params([p for p in CORE if "core/api/" not in name_of(p)]))
def test_nobody_in_core_knows_the_api(path: Path) -> None:
    assert not reaches(path, "core.api")


def test_no_page_reaches_past_core_into_the_feed_or_the_writer() -> None:
    for path in PAGES:
        assert not reaches(path, "core.feed", "core.trade_writer", "core.ingest"), name_of(path)


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


OPENERS = ("open", "read_bytes", "read_text", "write_bytes", "write_text", "copyfile", "copy2")


def is_on_the_store(call: ast.Call) -> bool:
    """Whether an opening call names the database: its receiver or argument says db or store."""
    text = ast.unparse(call)
    words = (
        "settings.db",
        "store.path",
        "self.path",
        "practice_db()",
        "(db)",
        "db.open",
        "db.read",
    )
    return any(word in text for word in words)


@pytest.mark.parametrize("path", params([p for p in PRODUCT if name_of(p) not in GATE]))
def test_one_gate_nobody_else_opens_copies_or_hashes_the_file(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            last = ast.unparse(node.func).rpartition(".")[2]
            assert not (last in OPENERS and is_on_the_store(node)), f"{name_of(path)}:{node.lineno}"


@pytest.mark.parametrize("path", params([p for p in PRODUCT if name_of(p) not in GATE]))
def test_one_gate_nobody_else_attaches_or_connects(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.lower().split()
            assert "attach" not in words[:1], f"{name_of(path)}:{node.lineno} attaches a file"
    assert not [place for place, call in calls(path) if call == "duckdb.connect"]


@pytest.mark.parametrize("path", params([p for p in CORE if p.suffix == ".py"]))
def test_only_the_settings_read_the_environment(path: Path) -> None:
    allowed = {"core/config.py"}
    text = path.read_text(encoding="utf-8")
    assert name_of(path) in allowed or "os.environ" not in text


def test_no_page_lies_directly_in_pages() -> None:
    """Streamlit's old mechanism would find it and show it without the frame."""
    assert not list((ROOT / "pages").glob("*.py"))


@pytest.mark.parametrize("path", params(PAGES))
def test_modules_stay_under_300_lines_and_functions_under_40(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 42, f"{name_of(path)}: {node.name}"
