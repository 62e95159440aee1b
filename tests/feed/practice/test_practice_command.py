"""`python -m core.feed.practice` as a process of its own."""

import asyncio
import functools
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as websocket

# An unbounded queue: a client that stops reading would wait long for the server's close frame.
connect = functools.partial(websocket, max_queue=None, close_timeout=1, compression=None)
COMMAND = [sys.executable, "-W", "error", "-m", "core.feed.practice"]


def started(*words: str) -> tuple["subprocess.Popen[str]", dict[str, str]]:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_it_serves_and_stops_with_its_parent() -> None:
    process, ready = started("--seed", "9", "--exit-with-parent", "--fault", "skip_prob=0.5")
    assert ready["venue"] == "practice:9"
    assert int(ready["pid"]) == process.pid
    with urllib.request.urlopen(ready["rest_url"] + "/practice/faults", timeout=5) as answer:
        assert json.load(answer)["skip_prob"] == 0.5
    assert process.stdin is not None
    process.stdin.close()  # what the system does when the parent dies
    assert process.wait(10) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stdout.close()  # type: ignore[union-attr]
    process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM handlers on Windows")
def test_full_speed_reports_its_own_share_and_sigterm_exits_cleanly() -> None:
    process, ready = started("--speed", "max", "--preload", "2000", "--rate", "500")

    async def read() -> int:
        names = ["btcusdt@aggTrade"]
        async with connect(ready["ws_url"] + "/market/stream", ping_interval=None) as ws:
            await ws.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
            await ws.recv()
            json.loads(await ws.recv())
            return json.loads(await asyncio.to_thread(process.stdout.readline))["frames"]  # type: ignore[union-attr]

    assert 0 < asyncio.run(read()) < 2_000
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["event"] == "exit"
    assert err == ""


def test_the_archive_command(tmp_path: Path) -> None:
    words = ["archive", "--rate", "2", "--symbols", "4usdt", "--from", "2026-11-20"]
    run = subprocess.run(
        [*COMMAND, *words, "--to", "2026-11-20", "--out", str(tmp_path), "--kinds", "aggTrades"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [Path(f).name for f in json.loads(run.stdout)["files"]] == [
        "4USDT-aggTrades-2026-11-20.zip"
    ]


def test_bad_settings_are_told_in_one_line() -> None:
    run = subprocess.run([*COMMAND, "--fault", "x=1"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "unknown fault 'x'" in run.stderr
    assert "Traceback" not in run.stderr
