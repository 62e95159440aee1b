"""Other sites' pages: they drive nothing, read nothing, and cannot pretend to be this machine."""

from __future__ import annotations

import pytest

from core.api import Access
from core.api.guard import COOKIE
from tests.api.safe_servers import BEARER, HERE, TOKEN, Told, ask, connect, gate, post

STOP, LIVE, STREAM = "/api/ingest/stop", "/ws/live", "/_stcore/stream"
UPLOAD = "/perpduck/upload"
DESK = "https://desk.example"
LISTED = Access(origins=(DESK, "http://192.168.1.5:3000"))
# Every way in which a page of another site shows.
FOREIGN: list[dict[str, str]] = [
    {"origin": "http://evil.example"},
    {"origin": "https://127.0.0.1"},
    {"origin": "http://127.0.0.1:8502"},
    {"origin": "http://localhost:8501"},
    {"origin": "http://127.0.0.1:8501.evil.example"},
    {"origin": "http://evil.example#127.0.0.1:8501"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://["},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "CROSS-SITE"},
    {"sec-fetch-site": "something-newer"},
    {"origin": f"http://{HERE}", "sec-fetch-site": "cross-site"},
]
OWN: list[dict[str, str]] = [
    {},  # a program
    {"origin": f"http://{HERE}"},
    {"origin": f"http://{HERE}", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
def test_what_changes_something_is_refused_to_other_sites(
    headers: dict[str, str], method: str
) -> None:
    refused = ask(gate(), STOP, headers, method=method)
    assert refused.problem["status"] == 403
    assert "PERPDUCK_API_ORIGINS" in refused.problem["detail"]


@pytest.mark.parametrize("headers", OWN, ids=str)
def test_programs_and_own_pages_change_things(headers: dict[str, str]) -> None:
    for path in (STOP, UPLOAD):
        assert post(gate(), path, headers).is_through
    for path in (LIVE, STREAM):
        assert connect(gate(), path, headers).is_through


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("path", [LIVE, STREAM])
def test_no_other_site_connects(headers: dict[str, str], path: str) -> None:
    """Streamlit would look up its own address on the internet for each, and all would wait."""
    assert connect(gate(), path, headers).status == 403


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_neither_a_session_nor_openness_lets_another_site_in(headers: dict[str, str]) -> None:
    kept = {"cookie": f"{COOKIE}={Access(TOKEN).session()}"}
    for guard, more in ((gate(Access(TOKEN)), kept), (gate(Access(is_open=True)), {}),
                        (gate(Access(is_login=True)), {})):  # fmt: skip
        assert post(guard, UPLOAD, headers | more).status == 403
        assert connect(guard, STREAM, headers | more).status == 403


def test_a_page_of_nowhere_is_not_this_server_because_it_has_no_name() -> None:
    for host in (None, ""):
        assert post(gate(), STOP, {"host": host, "origin": "null"}).status == 403  # type: ignore[dict-item]
        assert post(gate(), STOP, {"host": host}).is_through  # type: ignore[dict-item]


def test_reading_is_the_browsers_to_refuse() -> None:
    """A link on another page leads here; its scripts get no answer to look at."""
    told = ask(gate(), "/api/symbols", {"origin": "http://evil.example"})
    assert told.is_through
    assert not [name for name in told.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "localhost.evil.example",
     "0.0.0.0:8501", "169.254.169.254", "evil.example@127.0.0.1.x", "[", "127.0.0.1x"],
)  # fmt: skip
def test_a_name_that_was_made_to_lead_here_is_not_answered(host: str) -> None:
    """DNS rebinding: the page of such a name is, to its browser, of the same origin as we are."""
    same = {"host": host, "origin": f"http://{host}"}
    for told in (
        ask(gate(), "/api/symbols", {"host": host}),
        ask(gate(), "/", same),
        post(gate(), STOP, same),
        connect(gate(), LIVE, same),
        connect(gate(), STREAM, same),
    ):
        assert told.status == 403
        assert "is not called" in told.problem["detail"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8501", "localhost:8501", "LOCALHOST", "[::1]:8501", "127.8.8.8"],
)
def test_this_machines_own_names_are_answered(host: str) -> None:
    for path in ("/api/symbols", "/"):
        assert ask(gate(), path, {"host": host}).is_through
    assert connect(gate(), STREAM, {"host": host, "origin": f"http://{host}"}).is_through


def test_a_listed_site_is_a_name_of_this_server_too() -> None:
    """A proxy with a login of its own in front, which hands its name on."""
    assert ask(gate(LISTED), "/", {"host": "desk.example"}).is_through
    own = {"host": "desk.example", "origin": DESK}
    assert connect(gate(LISTED), STREAM, own).is_through
    assert ask(gate(LISTED), "/", {"host": "evil.example"}).status == 403


def test_with_a_token_any_name_will_do() -> None:
    """The cookie is the name's: a foreign one has none."""
    assert ask(gate(Access(TOKEN)), "/api/symbols", BEARER | {"host": "box.lan"}).is_through
    assert ask(gate(Access(TOKEN)), "/api/symbols", {"host": "box.lan"}).status == 401


def cors(told: Told) -> dict[str, str]:
    return {
        name.removeprefix("access-control-"): text
        for name, text in told.headers.items()
        if name.startswith("access-control")
    }


def preflight(access: Access, origin: str, method: str = "POST", path: str = STOP) -> Told:
    headers = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type",
        "access-control-request-private-network": "true",
        "sec-fetch-site": "cross-site",
    }
    return ask(gate(access), path, headers, method="OPTIONS")


@pytest.mark.parametrize("access", [LISTED, Access(TOKEN, origins=(DESK,))])
def test_a_listed_site_may_ask_as_browsers_do_before_they_send(access: Access) -> None:
    """The question comes without the token: it is answered before anything else."""
    told = preflight(access, DESK)
    assert (told.status, told.is_through) == (200, False)
    allowed = cors(told)
    assert allowed["allow-origin"] == DESK
    assert {"authorization", "content-type"} <= set(
        allowed["allow-headers"].lower().replace(" ", "").split(",")
    )
    assert {"GET", "POST", "DELETE"} <= set(allowed["allow-methods"].replace(" ", "").split(","))
    assert allowed["allow-private-network"] == "true"
    assert "allow-credentials" not in allowed


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://desk.example", "null", DESK[:-1], f"{DESK}.evil.example",
     f"{DESK}:8443", "*"],
)  # fmt: skip
def test_nobody_else_is_told_yes(origin: str) -> None:
    told = preflight(LISTED, origin)
    assert not told.is_through
    assert "allow-origin" not in cors(told)
    assert post(gate(LISTED), STOP, {"origin": origin}).status == 403
    assert connect(gate(LISTED), LIVE, {"origin": origin}).status == 403
    assert "allow-origin" not in cors(ask(gate(LISTED), "/api/symbols", {"origin": origin}))


def test_a_listed_sites_page_reads_every_answer_even_a_refusal() -> None:
    page = {"origin": DESK, "sec-fetch-site": "cross-site"}
    guard = gate(Access(TOKEN, origins=(DESK,)))
    for told in (post(guard, STOP, page | BEARER), ask(guard, "/api/symbols", page | BEARER)):
        assert told.is_through
        assert cors(told)["allow-origin"] == DESK
        assert "etag" in cors(told)["expose-headers"].lower()
        assert "Origin" in told.headers["vary"]
    refused = ask(guard, "/api/symbols", page)
    assert refused.status == 401
    assert cors(refused)["allow-origin"] == DESK
    # What is kept without an origin is no answer to a page of one.
    assert "Origin" in ask(guard, "/api/symbols", BEARER).headers["vary"]
    assert connect(guard, LIVE, page | BEARER).is_through


def test_the_pages_are_for_no_other_site_at_all() -> None:
    for path in ("/", "/static/js/index.js", "/media/x", "/perpduck/upload"):
        assert not cors(ask(gate(LISTED), path, {"origin": DESK}))
        assert "allow-origin" not in cors(preflight(LISTED, DESK, "PUT", path))


def test_without_a_list_no_page_is_answered_with_cors() -> None:
    assert not cors(preflight(Access(), "null"))
    assert not cors(preflight(Access(), f"http://{HERE}"))


@pytest.mark.parametrize(
    "kind",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "text/plain;application/json",
     "application/xml", "application/octet-stream"],
)  # fmt: skip
def test_a_body_that_a_form_can_send_unasked_is_not_read(kind: str | None) -> None:
    for sized in ({"content-length": "8"}, {"transfer-encoding": "chunked"}):
        for method in ("POST", "DELETE"):
            headers = sized | ({} if kind is None else {"content-type": kind})
            refused = ask(gate(), STOP, headers, method=method, body=[b"a=1&b=22"])
            assert refused.problem["status"] == 415


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8",
                                  "multipart/form-data; boundary=x"])  # fmt: skip
def test_documented_kinds_and_no_body_at_all_are(kind: str) -> None:
    assert post(
        gate(), STOP, {"content-type": kind, "content-length": "2"}, body=[b"{}"]
    ).is_through
    assert post(gate(), STOP, {"content-length": "0"}).is_through
    assert post(gate(), STOP).is_through
