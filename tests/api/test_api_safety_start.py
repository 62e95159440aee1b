"""The app as it is started: beyond this machine only with a token, a login, or when told so.

``127.1`` is 127.0.0.1 to the system, and to the check an address that is not known as this
machine's own: so nothing here is bound to where others could reach it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from core.api import Access, demand_protection
from core.config import Settings, load_settings
from core.errors import ConfigError
from tests.api.safe_servers import BEARER, ROOT, TOKEN, Running, many_loopbacks, running
from tests.browser.conftest import free_port

ODD = "127.1"


def run(*command: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, at home."""
    mine = {name: text for name, text in os.environ.items() if not name.startswith("PERPDUCK_")}
    given = {"PERPDUCK_DB": str(home / "p.duckdb"), "HOME": str(home)} | environment
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=mine | given, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_it_does_not_start_where_others_could_get_in(by: str, tmp_path: Path) -> None:
    command = ["-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(free_port())]
    command += ["--server.headless", "true"]
    if by == "flag":
        ended = run(*command, "--server.address", ODD, home=tmp_path)
    else:
        ended = run(*command, home=tmp_path, STREAMLIT_SERVER_ADDRESS=ODD)
    assert ended.returncode == 2
    (words,) = [line for line in ended.stderr.splitlines() if line.startswith("perpduck:")]
    assert f"bound to {ODD}, which others can reach" in words
    for way in ("PERPDUCK_API_TOKEN", "PERPDUCK_API_OPEN=1", "127.0.0.1", "login"):
        assert way in words
    assert "Traceback" not in ended.stderr


CASES: list[tuple[str | None, dict[str, str], int]] = [
    ("0.0.0.0", {}, 2),
    ("::", {}, 2),
    ("", {}, 2),
    (None, {}, 0),  # as .streamlit/config.toml has it
    ("192.168.1.5", {}, 2),
    ("perpduck.example", {}, 2),
    ("127.0.0.1", {}, 0),
    ("127.0.0.2", {}, 0),
    ("::1", {}, 0),
    ("localhost", {}, 0),
    ("0.0.0.0", {"PERPDUCK_API_TOKEN": TOKEN}, 0),
    ("0.0.0.0", {"PERPDUCK_API_TOKEN": "short"}, 2),
    ("0.0.0.0", {"PERPDUCK_API_TOKEN": "   "}, 2),
    ("0.0.0.0", {"PERPDUCK_API_OPEN": "1"}, 0),
    ("0.0.0.0", {"PERPDUCK_API_OPEN": "0"}, 2),
    ("0.0.0.0", {"PERPDUCK_API_OPEN": "maybe"}, 2),
]
# Asks the gate as Streamlit's command does, without a server.
GATES = """
import json, os, sys
from streamlit.web import bootstrap
import streamlit_app
for address, environment, _ in json.loads(sys.argv[1]):
    for name in ("PERPDUCK_API_TOKEN", "PERPDUCK_API_OPEN"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    bootstrap.load_config_options({} if address is None else {"server_address": address})
    try:
        streamlit_app.gate()
        print(0)
    except SystemExit as ended:
        print(ended.code)
"""


def test_every_address_is_judged_before_it_is_served(tmp_path: Path) -> None:
    ended = run("-c", GATES, json.dumps(CASES), home=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = [int(line) for line in ended.stdout.split()]
    assert list(zip(CASES, found, strict=True)) == [(case, case[2]) for case in CASES]
    assert "short" not in ended.stderr
    assert TOKEN not in ended.stdout + ended.stderr


def test_streamlits_own_login_is_protection_enough(tmp_path: Path) -> None:
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text('[auth]\ncookie_secret = "x"\nredirect_uri = "http://x/oauth2callback"\n')
    ended = run("-c", GATES, json.dumps(CASES[:1]), home=tmp_path)
    assert ended.stdout.split() == ["0"], ended.stderr


def test_the_sentence_names_every_address_where_none_is_given() -> None:
    for address in (None, ""):
        with pytest.raises(ConfigError, match="every address of this machine"):
            demand_protection(address, Access())


def test_the_token_shows_in_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPDUCK_API_TOKEN", TOKEN)
    settings = load_settings()
    assert settings.api_token == TOKEN
    assert TOKEN not in repr(settings)
    assert Settings().api_token == ""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The app with a token; nothing that it says may hold it, or a guess."""
    home = tmp_path_factory.mktemp("guarded")
    with running(home, address="127.0.0.2", PERPDUCK_API_TOKEN=TOKEN) as server:
        yield server
        command = " ".join(psutil.Process(server.pid).cmdline())
    said = server.log.read_text(encoding="utf-8") + command
    assert TOKEN not in said
    assert "wrong-guess" not in said


@pytest.fixture
def client(guarded: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, timeout=30, trust_env=False) as made:
        yield made


def signed_in(client: httpx.Client, guarded: Running) -> httpx.Response:
    given = {"token": TOKEN}
    return client.post("/perpduck/sign-in?next=/pair", data=given, headers={"origin": guarded.url})


@many_loopbacks
@pytest.mark.parametrize(
    "path", ["/", "/pair", "/static/index.html", "/media/x", "/_stcore/host-config", "/api/health",
             "/api/docs", "/api/metrics", "/perpduck/prices.js", "/perpduck/upload"],
)  # fmt: skip
def test_pages_api_and_files_are_closed(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"accept": "text/html"}).status_code == 303
    wrong = {"authorization": "Bearer wrong-guess"}
    assert client.get(path, headers=wrong).status_code == 401


@many_loopbacks
def test_a_program_has_the_token_and_a_browser_signs_in(
    client: httpx.Client, guarded: Running
) -> None:
    assert client.get("/api/health", headers=BEARER).status_code == 200
    assert client.get("/_stcore/health").text == "ok"
    form = client.get("/pair?a=1", headers={"accept": "text/html"}, follow_redirects=True)
    assert "next=/pair%3Fa%3D1" in form.text
    wrong = client.post(
        "/perpduck/sign-in", data={"token": "wrong-guess"}, headers={"origin": guarded.url}
    )
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    told = signed_in(client, guarded)
    assert (told.status_code, told.headers["location"]) == (303, "/pair")
    assert '<div id="root">' in client.get("/pair").text
    assert client.get("/api/health").status_code == 200
    # The page's own upload has its turn only now: it asks for what a page gives out.
    assert client.post("/perpduck/upload", params={"name": "a", "bytes": 1}).status_code == 403


@many_loopbacks
def test_the_pages_live_by_the_cookie(client: httpx.Client, guarded: Running) -> None:
    signed_in(client, guarded)
    kept = {"Cookie": "; ".join(f"{name}={text}" for name, text in client.cookies.items())}
    url, options = f"ws://{guarded.host}/_stcore/stream", {"proxy": None, "max_size": None}
    for headers, origin in (({}, guarded.url), (kept, "http://evil.example")):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(url, additional_headers=headers, origin=origin, **options),  # type: ignore[arg-type]
        ):
            pass
        assert refused.value.response.status_code == (403 if headers else 401)
    origin: Any = guarded.url
    with connect(
        url,
        additional_headers=kept,
        origin=origin,
        subprotocols=["streamlit"],
        **options,  # type: ignore[arg-type, list-item]
    ) as tab:
        asked = BackMsg()
        asked.rerun_script.query_string = ""
        tab.send(asked.SerializeToString())
        kinds: set[str | None] = set()
        while "script_finished" not in kinds:
            kinds.add(ForwardMsg.FromString(tab.recv(60)).WhichOneof("type"))
    assert {"new_session", "delta"} <= kinds


def test_told_to_be_open_it_starts_and_asks_for_nothing(tmp_path: Path) -> None:
    with (
        running(tmp_path, address=ODD, PERPDUCK_API_OPEN="1") as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client,
    ):
        named = {"host": "perpduck.example"}
        assert client.get("/api/health", headers=named).status_code == 200
        assert client.get("/", headers=named).status_code == 200
        foreign = {"origin": "http://evil.example"}
        assert client.post("/api/ingest/stop", headers=foreign).status_code == 403
