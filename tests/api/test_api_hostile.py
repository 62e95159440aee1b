"""A hundred bad clients against the real app beside a real worker: nobody else notices."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from core import queries
from core.feed.practice.market import Market
from core.store import Store, open_store
from tests.api.mob import MOST_SENT, Mob
from tests.api.safe_servers import Running, running
from tests.browser.conftest import wait_until
from tests.exchange import assert_same_as_exchange
from tests.processes import practice_process, worker_process

SYMBOLS, RATE = ["btcusdt", "ethusdt", "solusdt"], 200.0
# Rates are by address: the good clients are not those of the mob.
GOOD = "127.0.0.3"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the whole of 127/8 is this machine, and TCP_INFO, on Linux"
)


@dataclass
class House:
    """Everything that runs."""

    server: Running
    store: Store

    def last_ids(self) -> dict[str, int]:
        with self.store.read(wait_s=30) as con:
            return queries.load_last_ids(con)

    def open_sockets(self) -> int:
        found = psutil.Process(self.server.pid).net_connections(kind="tcp")
        return sum(one.status == psutil.CONN_ESTABLISHED for one in found)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The exchange, a worker and the app on one file."""
    home: Path = tmp_path_factory.mktemp("hostile")
    db = home / "perpduck.duckdb"
    with practice_process("--port", "0", "--rate", f"{RATE:g}") as exchange:
        urls = "--ws-url", exchange["ws_url"], "--rest-url", exchange["rest_url"]
        watched = "--symbols", ",".join(SYMBOLS), "--history", "0", "--flush-interval", "0.2"
        with worker_process(db, *urls, *watched), running(home, PERPDUCK_API_RATE="50") as server:
            made = House(server, open_store(db))
            wait_until(lambda: db.exists() and len(made.last_ids()) == 3, 60, "no trades come")
            yield made


def one_visit(server: Running) -> None:
    """Open a page as a browser does, and wait until its script has run."""
    url = f"ws://{server.host}/_stcore/stream"
    with connect(url, proxy=None, max_size=None, source_address=(GOOD, 0)) as tab:
        asked = BackMsg()
        asked.rerun_script.page_name = "data"
        tab.send(asked.SerializeToString())
        kinds: set[str | None] = set()
        while "script_finished" not in kinds:
            kinds.add(ForwardMsg.FromString(tab.recv(60)).WhichOneof("type"))  # type: ignore[arg-type]
        assert "delta" in kinds


def one_round(client: httpx.Client) -> None:
    """Ask for what somebody beside the mob needs."""
    assert client.get("/_stcore/health").text == "ok"
    assert client.get("/").status_code == 200
    told = client.get("/api/ingest/status")
    assert told.status_code == 200, told.text
    assert told.json()["state"] in ("starting", "live", "behind"), told.text


def test_a_hundred_bad_clients_leave_ingestion_and_pages_untouched(house: House) -> None:
    mob = Mob(house.server.port)
    transport = httpx.HTTPTransport(local_address=GOOD)
    with (
        httpx.Client(base_url=house.server.url, transport=transport, timeout=60) as client,
        ThreadPoolExecutor(1) as apart,
    ):
        one_round(client)
        one_visit(house.server)
        before, open_before, rounds = house.last_ids(), house.open_sockets(), 0
        mobbing = apart.submit(asyncio.run, mob.run())
        while not mobbing.done():
            one_round(client)
            one_visit(house.server)
            rounds += 1
            wait([mobbing], 0.5)
        mobbing.result()
        until_ms = int(time.time() * 1000)
        one_round(client)
    assert rounds
    # Everybody who must be was let go of, and the flood was held to its rate.
    assert set(mob.dropped.values()) == {10}, mob.dropped
    assert mob.refused[429] > 0, mob.refused
    assert mob.refused[200] < 10 * MOST_SENT
    assert set(mob.refused) <= {200, 429, 503}, mob.refused
    # Nothing of them is left.
    wait_until(lambda: house.open_sockets() <= open_before, 60, "sockets are still open")
    # Every trade of the exchange was stored meanwhile.
    market = Market(7, RATE)
    wait_until(
        lambda: all(
            house.last_ids()[symbol] >= market.first_id(symbol, until_ms) - 1 for symbol in SYMBOLS
        ),
        60,
        "the worker fell behind",
    )
    assert all(house.last_ids()[symbol] > before[symbol] for symbol in SYMBOLS)
    assert_same_as_exchange(house.store, market, SYMBOLS, until_ms=until_ms)
