"""The one gate: locks, the lease, whose file it is, and what stands in nobody's way."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from core.commands import add_to_watchlist
from core.errors import (
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMissing,
    WrongFile,
    WrongVenue,
)
from core.queries import load_versions, load_watchlist
from core.sql import migrations
from core.store import LEASE_S, Connection, Store, open_store
from core.store_file import is_lock, translated

HOLD = """
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("held", flush=True)
sys.stdin.readline()
"""


ENDLESS = "select count(*) from range(1000000000) a, range(1000000000) b"
# Some seconds, so that a test ends which waits for an interrupt in vain.
LONG = "select sum((a.range * b.range) % 7) from range(20000) a, range(40000) b"


class Holder:
    """Another process that has the file open."""

    def __init__(self, path: Path, how: str) -> None:
        self.free = False
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == b"held"

    def let_go(self) -> None:
        self.free = True
        self.process.communicate(b"\n")

    def __enter__(self) -> Holder:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.free:
            self.let_go()


def test_a_held_file_is_waited_for_then_busy(store: Store) -> None:
    with Holder(store.path, "write"):
        began = time.monotonic()
        with pytest.raises(StoreBusy, match="in use by another process"), store.read(wait_s=0.3):
            pass
        with pytest.raises(StoreBusy), store.write(wait_s=0.3):
            pass
        assert 0.5 < time.monotonic() - began < 5


def test_a_reader_elsewhere_keeps_writers_out_but_not_readers(store: Store) -> None:
    with Holder(store.path, "read"):
        with store.read(wait_s=1) as con:
            assert load_versions(con) == {}
        with pytest.raises(StoreBusy), store.write(wait_s=0.2):
            pass


def test_writing_goes_on_as_soon_as_the_file_is_free(store: Store) -> None:
    with Holder(store.path, "write") as holder:
        threading.Timer(0.4, holder.let_go).start()
        add_to_watchlist(store, ["BTCUSDT"])
    with store.read() as con:
        assert load_watchlist(con)["symbol"].to_list() == ["btcusdt"]


def test_after_reading_and_writing_nobody_is_kept_out(store: Store) -> None:
    with store.read() as con:
        load_versions(con)
    add_to_watchlist(store, ["a"])
    with Holder(store.path, "write"):
        pass


def test_readers_share_a_lease_and_a_writer_gets_its_turn_under_constant_demand(
    store: Store,
) -> None:
    stop = threading.Event()
    reads, troubles = [0] * 6, []

    def demand(i: int) -> None:
        while not stop.is_set():
            try:
                with store.read(wait_s=10) as con:
                    load_versions(con)
                    reads[i] += 1
            except Exception as error:
                troubles.append(error)

    threads = [threading.Thread(target=demand, args=(i,)) for i in range(len(reads))]
    for thread in threads:
        thread.start()
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from core.store import open_store\n"
        "from core.commands import add_to_watchlist\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "for i in range(20): add_to_watchlist(store, [f's{i}'])\n"
    )
    root = str(Path(__file__).resolve().parent.parent)
    other = subprocess.run([sys.executable, "-c", code, str(store.path), root], timeout=60)
    for i in range(5):
        add_to_watchlist(store, [f"own{i}"])
    stop.set()
    for thread in threads:
        thread.join()
    assert other.returncode == 0
    assert troubles == []
    assert min(reads) > 0
    with store.read() as con:
        assert len(load_watchlist(con)) == 25


def test_a_query_that_takes_too_long_is_interrupted(store: Store) -> None:
    began = time.monotonic()
    with pytest.raises(StoreBusy, match=r"longer than 0\.3 s"), store.read(limit_s=0.3) as con:
        con.execute(ENDLESS).fetchall()
    assert time.monotonic() - began < 5
    with store.read() as con:
        assert load_versions(con) == {}


def many_short_queries(con: Connection) -> None:
    ends_at = time.monotonic() + 4
    while time.monotonic() < ends_at:
        con.execute("select 1").fetchall()


def a_query_after_much_thought(con: Connection) -> None:
    time.sleep(0.3)
    con.execute("select 1")


def a_query_whose_interrupt_came_before_it(con: Connection) -> None:
    execute = con.execute
    time.sleep(0.3)
    execute(LONG).fetchall()


@pytest.mark.parametrize(
    "use", [many_short_queries, a_query_after_much_thought, a_query_whose_interrupt_came_before_it]
)
def test_the_limit_holds_whatever_is_done(store: Store, use: Callable[[Connection], None]) -> None:
    began = time.monotonic()
    with pytest.raises(StoreBusy, match=r"longer than 0\.2 s"), store.read(limit_s=0.2) as con:
        use(con)
    assert time.monotonic() - began < 2


def test_reads_start_no_threads_of_their_own(store: Store) -> None:
    with store.read() as con:
        load_versions(con)
    known = threading.active_count()
    for _ in range(5):
        with store.read() as con, store.read() as other:
            assert threading.active_count() == known
            assert load_versions(con) == load_versions(other)


def test_nothing_is_said_at_the_end_of_a_process_that_has_read(store: Store) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from core.store import open_store\n"
        "with open_store(Path(sys.argv[1])).read() as con: con.execute('select 1').fetchall()\n"
    )
    root = str(Path(__file__).resolve().parent.parent)
    ended = subprocess.run(
        [sys.executable, "-c", code, str(store.path), root], capture_output=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_write_that_raises_leaves_nothing_behind(store: Store) -> None:
    def half_a_write() -> None:
        with store.write() as con:
            con.execute("insert into versions values ('x', 1)")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        half_a_write()
    with store.read() as con:
        assert load_versions(con) == {}


def test_a_second_reader_in_the_same_lease_sees_one_moment(store: Store) -> None:
    with store.read() as first, store.read() as second:
        assert load_versions(first) == load_versions(second)
        time.sleep(LEASE_S + 0.05)
        assert load_versions(first) == {}


def test_the_fingerprint_changes_with_every_commit_and_not_with_reading(store: Store) -> None:
    before = store.fingerprint()
    with store.read() as con:
        load_versions(con)
    assert store.fingerprint() == before
    add_to_watchlist(store, ["a"])
    after = store.fingerprint()
    assert after != before
    store.checkpoint()
    assert store.fingerprint() != after
    assert store.size_bytes() > 0


def test_another_venue_is_refused(store: Store) -> None:
    with pytest.raises(WrongVenue, match=r"'binance'.*'practice:7'"):
        store.prepare("practice:7")
    assert store.venue() == "binance"


def test_another_file_in_the_place_of_the_first_is_not_written_to(
    store: Store, tmp_path: Path
) -> None:
    add_to_watchlist(store, ["a"])
    Store(tmp_path / "other.duckdb").prepare("practice:7")
    for name in (store.path.name, f"{store.path.name}.wal"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "other.duckdb").rename(store.path)
    with store.read() as con:
        assert load_watchlist(con).is_empty()
    with pytest.raises(WrongVenue, match=r"'practice:7'.*'binance'"):
        add_to_watchlist(store, ["b"])
    with store.read() as con:
        assert load_watchlist(con).is_empty()
    store.prepare("practice:7")
    add_to_watchlist(store, ["c"])


def test_there_is_no_file_until_the_worker_makes_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "none.duckdb")
    assert (store.exists(), store.venue(), store.size_bytes()) == (False, None, 0)
    with pytest.raises(StoreMissing), store.read():
        pass
    with pytest.raises(StoreMissing):
        add_to_watchlist(store, ["a"])
    assert list(tmp_path.iterdir()) == []


def other_database(path: Path, *statements: str) -> Store:
    code = "import duckdb, sys\ncon = duckdb.connect(sys.argv[1])\n" + "\n".join(
        f"con.execute({statement!r})" for statement in statements
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    return open_store(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "letter.duckdb"
    path.write_text("Dear reader, " * 500)
    with pytest.raises(WrongFile, match="not a DuckDB file"), open_store(path).read():
        pass
    with pytest.raises(WrongFile):
        open_store(path).prepare("binance")


def test_a_sqlite_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "notes.duckdb"
    notes = sqlite3.connect(path)
    notes.execute("create table notes (a int)")
    notes.commit()
    notes.close()
    for use in (lambda: open_store(path).read().__enter__(), lambda: open_store(path).prepare("x")):
        with pytest.raises(WrongFile, match="not a DuckDB file"):
            use()


def test_no_code_is_downloaded_for_what_a_file_asks_for(store: Store) -> None:
    with store.read() as con:
        settings = con.execute(
            "select value from duckdb_settings() where name like 'auto%known_extensions'"
        ).fetchall()
        assert settings == [("false",)] * 2
        # Compiled in, so that nothing of ours misses them.
        assert con.execute("select '{\"a\": 1}'::json ->> 'a'").fetchall() == [("1",)]
        loaded = con.execute("select extension_name from duckdb_extensions() where loaded")
        assert {"icu", "json", "parquet"} <= {name for (name,) in loaded.fetchall()}


# What DuckDB says on a Windows whose language is German.
HELD_THERE = (
    'IO Error: Cannot open file "C:\\perpduck.duckdb": Der Prozess kann nicht auf die Datei '
    "zugreifen, da sie von einem anderen Prozess verwendet wird."
)


def test_a_lock_is_known_in_any_language_of_windows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = duckdb.IOException(HELD_THERE)
    assert not is_lock(error, store.path)
    with monkeypatch.context() as patch:
        patch.setattr("core.store_file.sys.platform", "win32")
        held, absent = is_lock(error, store.path), is_lock(error, store.path.with_name("none"))
        said = translated(error, store.path)
    assert (held, absent, type(said)) == (True, False, StoreBusy)


def test_a_full_disk_is_known_in_any_language(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = duckdb.IOException('IO Error: Could not write file "x": Kein Speicherplatz')
    assert type(translated(error, store.path)) is StoreError
    monkeypatch.setattr("core.store_file.MIN_FREE_BYTES", 1 << 60)
    assert type(translated(error, store.path)) is StoreFull
    assert type(translated(duckdb.CatalogException("no table"), store.path)) is StoreError


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    store = other_database(tmp_path / "other.duckdb", "create table t (a int)")
    with pytest.raises(WrongFile, match="not one of Perpduck's"):
        store.prepare("binance")
    with pytest.raises(WrongFile), store.read():
        pass


def test_a_file_of_a_newer_program_is_refused(store: Store, tmp_path: Path) -> None:
    newer = other_database(
        tmp_path / "newer.duckdb",
        "create table meta (key varchar, value varchar)",
        "insert into meta values ('app', 'perpduck'), ('venue', 'binance')",
        "create table schema_migrations (version int, applied_at timestamp)",
        "insert into schema_migrations values (999, now()::timestamp)",
    )
    with pytest.raises(WrongFile, match="schema version 999"):
        newer.prepare("binance")


@pytest.mark.parametrize("how", ["read", "write"])
def test_an_older_file_is_migrated_when_it_is_opened(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.duckdb"
    Store(path).prepare("binance")
    done_before = [(version,) for version, _ in migrations()]
    grown = (*migrations(), (len(done_before) + 1, "create table later (a int)"))
    for place in ("core.store.migrations", "core.store_file.migrations"):
        monkeypatch.setattr(place, lambda: grown)
    again = Store(path)
    with again.read() if how == "read" else again.write() as con:
        assert con.execute("select count(*) from later").fetchall() == [(0,)]
        done = con.execute("select version from schema_migrations order by version").fetchall()
    assert done == [*done_before, (len(done_before) + 1,)]


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.duckdb"
    Store(path).prepare("binance")
    real = migrations()
    broken = (*real, (len(real) + 1, "create table later (a int); create table trades (a int)"))
    for place in ("core.store.migrations", "core.store_file.migrations"):
        monkeypatch.setattr(place, lambda: broken)
    with pytest.raises(StoreError), Store(path).read():
        pass
    for place in ("core.store.migrations", "core.store_file.migrations"):
        monkeypatch.setattr(place, lambda: real)
    with Store(path).read() as con:
        names = con.execute("select table_name from duckdb_tables()").fetchall()
        assert ("later",) not in names
        done = con.execute("select version from schema_migrations order by version").fetchall()
        assert done == [(version,) for version, _ in real]


def test_preparing_twice_changes_nothing(store: Store) -> None:
    add_to_watchlist(store, ["a"])
    store.prepare("binance")
    with store.read() as con:
        applied = con.execute("select version from schema_migrations order by version").fetchall()
        assert load_watchlist(con)["symbol"].to_list() == ["a"]
    assert applied == [(version,) for version, _ in migrations()]


def test_the_same_path_is_the_same_store(tmp_path: Path) -> None:
    assert open_store(tmp_path / "x.duckdb") is open_store(tmp_path / "." / "x.duckdb")


def test_a_link_to_the_file_is_the_same_store(store: Store, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.duckdb"
    link.parent.mkdir()
    link.symlink_to(store.path)
    assert open_store(link) is store
    (tmp_path / "folder").symlink_to(link.parent, target_is_directory=True)
    assert open_store(tmp_path / "folder" / "link.duckdb") is store
