"""Uploads: reported file by file, served as datasets and own bars, and removed again."""

from __future__ import annotations

import errno
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock
from processes import wait_for

from core.api import incoming
from core.api import uploads as uploads_route
from core.importing import jobs
from core.store import Store, open_store
from tests.api.conftest import Api, assert_problem
from tests.pages.test_pair_page import pair_store

START_MS = 1_795_000_020_000


@pytest.fixture(scope="module", autouse=True)
def _imports_end() -> Iterator[None]:
    yield
    for child in jobs._children:
        child.wait(30)


def ticks(symbol: str, count: int = 120, *, price: float = 100.0) -> bytes:
    rows = (
        {"symbol": symbol, "ts": START_MS + 1000 * i, "price": price + i % 7, "size": 2}
        for i in range(count)
    )
    return "\n".join(map(json.dumps, rows)).encode()


def bars_csv(count: int = 30) -> bytes:
    rows = (f"{START_MS + 60_000 * i},5,6,4,{5 + i / 100},1" for i in range(count))
    return "\n".join(["ts,open,high,low,close,volume", *rows]).encode()


def send(
    api: Api, data: bytes, name: str = "t.ndjson", *, path: str = "/upload_ndjson", **fields: str
) -> httpx.Response:
    return api.ask("POST", path, files={"file": (name, data)}, data=fields)


def taken(home: Path) -> list[Path]:
    return list((jobs.jobs_folder(home / "perpduck.duckdb") / "uploads" / "taken").iterdir())


def closes(api: Api, symbol: str, **params: str) -> list[float]:
    return [one["close"] for one in api.found(f"/resampled/{symbol}", **params)["data"]]


def test_ticks_are_reported_and_served_as_a_dataset(api: Api, home: Path) -> None:
    body = ticks("MINEUSDT") + b"\n" + ticks("MINEUSDT", 1) + b'\n{"nope": 1}\n'
    answer = send(api, body, "My ticks (1).ndjson")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert answer.headers["location"] == f"/api/uploads/{told['id']}?source=binance"
    assert (told["state"], told["dataset"], told["progress"]) == ("done", "my-ticks-1", 1.0)
    (one,) = told["files"]
    assert one["name"] == "My ticks (1).ndjson"
    assert (one["read"], one["kept"], one["duplicate"], one["rejected"]) == (122, 121, 0, 1)
    assert one["rejects"] == [{"line": 122, "reason": "no symbol", "text": '{"nope": 1}'}]
    assert api.found(f"/uploads/{told['id']}") == told
    job = jobs.load_job(jobs.jobs_folder(home / "perpduck.duckdb") / told["id"])
    assert job is not None
    assert (job.files[0].read, job.files[0].kept) == (122, 121)
    assert api.found("/symbols")["datasets"] == ["my-ticks-1"]
    expected = [100.0, *(100.0 + i % 7 for i in range(1, 120))]
    assert closes(api, "mineusdt") == closes(api, "MINEUSDT", dataset="My-Ticks-1") == expected
    assert closes(api, "mineusdt@my-ticks-1") == expected
    assert taken(home) == []


def test_the_same_again_changes_nothing_and_says_so(api: Api, home: Path) -> None:
    first = send(api, gzip.compress(ticks("mineusdt")), "a.ndjson.gz", dataset="d")
    again = send(api, ticks("mineusdt"), "a.ndjson", dataset="d")
    assert first.json()["files"][0]["kept"] == 120
    told = again.json()["files"][0]
    assert (again.status_code, told["kept"], told["duplicate"]) == (201, 0, 120)


def test_own_trades_come_first_then_the_newest_dataset(api: Api, home: Path) -> None:
    store = pair_store(home, 60)
    asked: dict[str, Any] = {"source": "practice"}
    own = closes(api, "arbusdt")
    for name, price in (("old", 1000.0), ("new", 2000.0), ("again", 3000.0)):
        both = b"\n".join([ticks("ARBUSDT", price=price), ticks("onlyusdt", price=price)])
        data = both if name != "again" else ticks("otherusdt")
        assert send(api, data, dataset=name).status_code == 201
        if name != "again":
            assert closes(api, "onlyusdt", **asked)[0] == price
    assert closes(api, "arbusdt", **asked) == own
    assert closes(api, "arbusdt", dataset="old")[0] == 1000.0
    assert closes(api, "arbusdt", dataset="new")[0] == 2000.0
    pair = api.found("/analytics/pair", y="arbusdt", x="onlyusdt", dataset="old", roll_window=10)
    assert (pair["pair"]["y"], pair["pair"]["x"]) == ("arbusdt@old", "onlyusdt@old")
    matrix = api.found("/analytics/corr_matrix", symbols="arbusdt,onlyusdt", dataset="new",
                       timeframe="1s")  # fmt: skip
    assert matrix["symbols"] == ["arbusdt@new", "onlyusdt@new"]
    saved = api.get("/export/onlyusdt")
    assert 'filename="perpduck-onlyusdt-new-1s.csv"' in saved.headers["content-disposition"]
    done = api.ask("POST", "/backtests", json={"y": "arbusdt", "x": "onlyusdt", "dataset": "old"})
    assert done.json()["pair"]["y"] == "arbusdt@old"
    assert store.path.name == "practice-7.duckdb"


def test_bars_stand_for_their_symbol_until_they_are_removed(api: Api, home: Path) -> None:
    sent: dict[str, Any] = {"path": "/upload_ohlcv", "symbol": "MineUSDT", "timeframe": "1m"}
    answer = send(api, bars_csv(), "b.csv", **sent)
    told = answer.json()
    assert (answer.status_code, told["symbol"], told["timeframe"]) == (201, "mineusdt", "1min")
    assert told["files"][0]["kept"] == 30
    asked = {"timeframe": "1min"}
    assert closes(api, "mineusdt", **asked) == [5 + i / 100 for i in range(30)]
    one = api.found("/resampled/mineusdt", limit=1, **asked)["data"][0]
    assert (one["origin"], one["trades"]) == ("upload", None)
    assert "1s" in assert_problem(api.get("/resampled/mineusdt"), 422)["detail"]
    gone = api.ask("DELETE", f"/uploads/{told['id']}", params={"data": "true"})
    assert gone.json() == {"id": told["id"], "deleted": True, "rows_removed": 30}
    assert_problem(api.get("/resampled/mineusdt", **asked), 404)
    assert_problem(api.get(f"/uploads/{told['id']}"), 404)


def test_forgetting_an_upload_keeps_what_it_brought(api: Api, home: Path) -> None:
    told = send(api, ticks("mineusdt"), dataset="kept").json()
    gone = api.ask("DELETE", f"/uploads/{told['id']}")
    assert gone.json() == {"id": told["id"], "deleted": True, "rows_removed": 0}
    assert len(closes(api, "mineusdt")) == 120
    assert_problem(api.ask("DELETE", f"/uploads/{told['id']}"), 404)


def test_a_file_that_cannot_be_used_is_422_with_its_report(api: Api, home: Path) -> None:
    bad = send(api, b'{"a": 1}\n{"b": 2}\n', "secret.ndjson")
    told = assert_problem(bad, 422)
    assert bad.headers["location"] == f"/api/uploads/{told['report']['id']}?source=binance"
    assert told["report"]["state"] == "failed"
    assert told["report"]["files"][0]["name"] == "secret.ndjson"
    assert "secret.ndjson" in told["report"]["files"][0]["message"]
    wrong = {"path": "/upload_ohlcv", "symbol": "mineusdt", "timeframe": "1h"}
    told = assert_problem(send(api, bars_csv(), "b.csv", **wrong), 422)
    assert told["report"]["files"][0]["kept"] == 0
    removed = api.ask("DELETE", f"/uploads/{told['report']['id']}")
    assert removed.status_code == 200


@pytest.mark.parametrize(
    ("path", "data", "fields", "name", "status"),
    [
        ("/upload_ndjson", b"x", {"other": "1"}, "other", 400),
        ("/upload_ndjson", b"x", {"dataset": "a b"}, "dataset", 400),
        ("/upload_ndjson", b"x", {"dataset": "x" * 41}, "dataset", 400),
        ("/upload_ndjson", b"x", {"dataset": "../x"}, "dataset", 400),
        ("/upload_ndjson", b"x", {"symbol": "a/b"}, "symbol", 400),
        ("/upload_ndjson", b"x", {"symbol": " "}, "symbol", 400),
        ("/upload_ohlcv", b"x", {}, "symbol", 400),
        ("/upload_ohlcv", b"x", {"symbol": "a"}, "timeframe", 400),
        ("/upload_ohlcv", b"x", {"symbol": "a", "timeframe": "1w"}, "timeframe", 400),
        ("/upload_ohlcv", b"x", {"symbol": "a@b c", "timeframe": "1m"}, "dataset", 400),
        ("/upload_ohlcv", b"x", {"symbol": "x" * 81, "timeframe": "1m"}, "symbol", 400),
        ("/upload_ndjson", b"", {}, None, 422),
    ],
)  # fmt: skip
def test_fields_are_checked_before_anything_is_kept(
    api: Api, home: Path, path: str, data: bytes, fields: dict[str, str], name: str, status: int
) -> None:
    told = assert_problem(send(api, data, path=path, **fields), status)
    assert told.get("parameter") == name
    assert list(home.iterdir()) == []


def test_a_form_without_a_file_or_with_two_is_400(api: Api, home: Path) -> None:
    assert_problem(api.ask("POST", "/upload_ndjson", files={"dataset": (None, "d")}), 400,
                   parameter="file")  # fmt: skip
    assert_problem(api.ask("POST", "/upload_ndjson", files={"file": (None, "text")}), 400,
                   parameter="file")  # fmt: skip
    two = [("file", ("a", b"x")), ("file", ("b", b"y"))]
    assert_problem(api.ask("POST", "/upload_ndjson", files=two), 400)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        headers = {"Content-Type": kind}
        broken = api.ask("POST", "/upload_ndjson", content=b"nonsense", headers=headers)
        assert_problem(broken, 400)
    assert list(home.iterdir()) == []


def test_a_disk_without_room_is_507(api: Api, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "RESERVE_BYTES", 10**18)
    assert "make room" in assert_problem(send(api, ticks("mineusdt")), 507)["detail"]
    # Nothing of it came as far as the file's own folder.
    assert not list(home.rglob("uploads"))


def test_a_disk_that_is_full_by_then_is_507_and_nothing_is_left(
    api: Api, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several files may have come at once, each of which had room by itself."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        assert "make room" in assert_problem(send(api, ticks("mineusdt")), 507)["detail"]
    assert taken(home) == []
    monkeypatch.setattr(uploads_route.Request, "form", full)
    assert "make room" in assert_problem(send(api, ticks("mineusdt")), 507)["detail"]


def test_a_message_has_its_own_words_whatever_the_file_is_called(api: Api, home: Path) -> None:
    bad = send(api, b'{"a": 1}\n', "upload")
    (one,) = assert_problem(bad, 422)["report"]["files"]
    assert one["name"] == "upload"
    assert not re.search(r"[0-9a-f]{16}", one["message"])


@pytest.fixture
def waiting(api: Api, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A home whose imports wait, and an API that does not wait for them."""
    store = open_store(home / "perpduck.duckdb")
    store.prepare("binance")
    done = send(api, ticks("mineusdt"), dataset="d")
    assert done.status_code == 201
    monkeypatch.setattr(uploads_route, "WAIT_S", 0.0)
    lock = FileLock(jobs.jobs_folder(store.path) / "import.lock")
    with lock:
        yield store


def test_one_that_takes_long_goes_on_by_itself(api: Api, waiting: Store) -> None:
    (first,) = (job.id for job in jobs.list_jobs(waiting.path))
    answer = send(api, ticks("mineusdt", 500), dataset="d")
    told = answer.json()
    assert (answer.status_code, told["state"], told["progress"]) == (202, "queued", 0.0)
    place = answer.headers["location"].removeprefix("/api")
    assert api.found(place)["state"] == "queued"
    busy = api.ask("DELETE", f"/uploads/{first}", params={"data": True})
    assert "running" in assert_problem(busy, 409)["detail"]
    assert len(closes(api, "mineusdt")) == 120
    stopped = api.ask("DELETE", place)
    assert stopped.status_code == 202
    wait_for(lambda: api.found(place)["state"] == "cancelled", what="cancelled")
    assert api.ask("DELETE", place).json()["deleted"] is True
    assert taken(waiting.path.parent) == []
    gone = api.ask("DELETE", f"/uploads/{first}", params={"data": True})
    assert gone.json()["rows_removed"] == 120
    assert api.found("/symbols")["datasets"] == []


def test_no_more_imports_wait_than_have_a_turn(
    api: Api, waiting: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "MOST_ACTIVE", 1)
    first = send(api, ticks("mineusdt", 500), dataset="d")
    assert first.status_code == 202
    refused = send(api, ticks("mineusdt", 500), dataset="e")
    assert "run or wait already" in assert_problem(refused, 503)["detail"]
    assert int(refused.headers["retry-after"]) >= 1
    assert len(taken(waiting.path.parent)) == 1
    # One that came in while another took the last place is refused as well.
    monkeypatch.setattr(uploads_route, "demand_turn", lambda _: None)
    assert_problem(send(api, ticks("mineusdt", 500), dataset="e"), 503)
    assert len(taken(waiting.path.parent)) == 1
    assert len(jobs.list_jobs(waiting.path)) == 2
    api.ask("DELETE", first.headers["location"].removeprefix("/api"))
