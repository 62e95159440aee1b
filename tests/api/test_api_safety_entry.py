"""Who gets in: nobody asks on this machine alone; elsewhere a token does, or the pages' login."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from core.api import Access, access
from core.api.guard import COOKIE
from tests.api.safe_servers import BEARER, HERE, TOKEN, ask, connect, gate, post

API, PAGE, STATIC = "/api/health", "/prices", "/static/js/index.js"
LIVE, STREAM, UPLOAD = "/ws/live", "/_stcore/stream", "/perpduck/upload"
WITH_TOKEN = Access(TOKEN)
ELSEWHERE = {"server": ("192.0.2.7", 8501), "client": ("192.0.2.9", 50_000)}


def cookie(text: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={text}"}


@pytest.mark.parametrize("path", [API, PAGE, STATIC, "/api", "/api/docs"])
def test_on_this_machine_alone_nothing_is_asked_for(path: str) -> None:
    assert ask(gate(), path).is_through
    assert ask(gate(), path, server=("::1", 8501)).is_through
    # A socket in a folder has no address, and the folder says who may.
    assert ask(gate(), path, server=("/run/perpduck.sock", None)).is_through


@pytest.mark.parametrize("path", [API, PAGE, STATIC, UPLOAD, "/api/docs"])
def test_with_a_token_everything_is_closed_to_who_does_not_have_it(path: str) -> None:
    guard = gate(WITH_TOKEN)
    refused = ask(guard, path)
    assert not refused.is_through
    assert refused.problem["status"] == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert refused.headers["cache-control"] == "no-store"
    assert ask(guard, path, BEARER).is_through
    assert ask(guard, path, BEARER, **ELSEWHERE).is_through


@pytest.mark.parametrize("path", [LIVE, STREAM])
def test_both_web_sockets_are_closed_too(path: str) -> None:
    guard = gate(WITH_TOKEN)
    assert connect(guard, path).status == 401
    assert connect(guard, path, cookie("made up")).status == 401
    assert connect(guard, path, BEARER).is_through
    assert connect(guard, path, cookie(WITH_TOKEN.session())).is_through


def test_a_handshake_is_refused_without_words_where_the_server_has_none() -> None:
    refused = connect(gate(WITH_TOKEN), LIVE, extensions={})
    assert (refused.closed, refused.is_through) == (1008, False)


def test_what_keeps_the_process_alive_needs_no_token() -> None:
    health = ask(gate(WITH_TOKEN), "/_stcore/health", {"host": "10.0.0.7"})
    assert health.is_through


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
     f"Bearer {TOKEN.upper()}", "Bearer \xff\xfe", "bearer  "],
)  # fmt: skip
def test_nothing_but_the_whole_token_is_the_token(given: str) -> None:
    assert ask(gate(WITH_TOKEN), API, {"authorization": given}).status == 401


def test_the_scheme_is_read_in_any_case_and_a_token_in_any_alphabet() -> None:
    assert ask(gate(WITH_TOKEN), API, {"authorization": f"bearer {TOKEN}"}).is_through
    words = "größer-als-gedacht-币"
    sent = words.encode().decode("latin-1")  # as the header's bytes come
    assert ask(gate(Access(words)), API, {"authorization": f"Bearer {sent}"}).is_through


def test_an_empty_token_is_nobodys() -> None:
    assert not Access("").is_token("")
    assert not Access("").is_protected
    # Without a token no cookie of an empty one gets anybody in from elsewhere either.
    forged = cookie(Access("").session())
    assert not ask(gate(), API, forged, **ELSEWHERE).is_through


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(mine: bytes, theirs: bytes) -> bool:
        compared.append((mine, theirs))
        return hmac.compare_digest(mine, theirs)

    monkeypatch.setattr(access, "hmac", type("hmac", (), {"compare_digest": compare}))
    for one in ("", "x", TOKEN, TOKEN * 1000):
        assert ask(gate(WITH_TOKEN), API, {"authorization": f"Bearer {one}"}).is_through == (
            one == TOKEN
        )
    # Of one length, whatever was given: not even that of the token shows.
    assert [(len(mine), len(theirs)) for mine, theirs in compared] == [(32, 32)] * 4


def test_a_session_lasts_thirty_days_and_not_a_second_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = WITH_TOKEN.session()
    now = access._serializer(TOKEN).make_signer("perpduck-session").get_timestamp()
    for passed, is_in in ((30 * 86_400 - 5, True), (30 * 86_400 + 5, False)):
        monkeypatch.setattr(
            "itsdangerous.timed.TimestampSigner.get_timestamp", lambda _, at=now + passed: at
        )
        assert ask(gate(WITH_TOKEN), PAGE, cookie(kept)).is_through is is_in


def test_another_token_ends_every_session() -> None:
    kept = cookie(WITH_TOKEN.session())
    assert ask(gate(WITH_TOKEN), PAGE, kept).is_through
    assert not ask(gate(Access("another-token-entirely")), PAGE, kept).is_through


def test_no_other_signature_makes_a_session() -> None:
    others = (
        URLSafeTimedSerializer(TOKEN, salt="cookie-session").dumps("in"),
        URLSafeTimedSerializer("guess", salt="perpduck-session").dumps("in"),
        URLSafeTimedSerializer(TOKEN, salt="perpduck-session").dumps("out"),
        WITH_TOKEN.session()[:-1],
        "in",
        "",
    )
    for one in others:
        assert not ask(gate(WITH_TOKEN), PAGE, cookie(one)).is_through


@pytest.mark.parametrize(
    "others",
    ['theme={"dark":1}; ', "=; a b=c; ", "x=\x01\xff; ", "_xsrf=2|a|b; $Version=1; ", ";;; "],
)
def test_what_other_programs_keep_on_this_host_does_not_hide_the_session(others: str) -> None:
    """Cookies know no ports: those of every program on the host come along, however they look."""
    kept = {"cookie": f"{others}{COOKIE}={WITH_TOKEN.session()}"}
    assert ask(gate(WITH_TOKEN), PAGE, kept).is_through


@given(
    header=st.sampled_from(["authorization", "cookie", "origin", "host", "sec-fetch-site",
                            "content-type", "content-length", "transfer-encoding", "accept"]),
    text=st.text(st.characters(max_codepoint=255), max_size=60)
    | st.sampled_from(["http://[", "http://[::1", "[", "//", "http://a:b:c", "Bearer \x00"]),
    kind=st.sampled_from(["http", "websocket"]),
    method=st.sampled_from(["GET", "POST", "DELETE", "SPAM"]),
    path=st.sampled_from([API, PAGE, LIVE, "/perpduck/sign-in"]),
    who=st.sampled_from([Access(), WITH_TOKEN, Access(is_login=True), Access(is_open=True)]),
)  # fmt: skip
def test_whatever_the_headers_hold_an_answer_comes(
    header: str, text: str, kind: str, method: str, path: str, who: Access
) -> None:
    told = ask(gate(who), path, {header: text}, type=kind, method=method)
    assert 100 <= told.status < 500


def test_behind_the_pages_own_login_only_the_pages_are_served() -> None:
    guard = gate(Access(is_login=True))
    assert ask(guard, PAGE, **ELSEWHERE).is_through
    assert connect(guard, STREAM, **ELSEWHERE).is_through
    for refused in (ask(guard, API), ask(guard, API, BEARER), connect(guard, LIVE)):
        assert refused.status == 401
        assert "PERPDUCK_API_TOKEN" in refused.problem["detail"]


def test_told_to_be_open_it_is() -> None:
    guard = gate(Access(is_open=True))
    for path in (API, PAGE):
        assert ask(guard, path, {"host": "perpduck.example"}, **ELSEWHERE).is_through
    assert connect(guard, LIVE, {"host": "perpduck.example"}, **ELSEWHERE).is_through


def test_a_token_counts_even_where_it_is_told_to_be_open() -> None:
    guard = gate(Access(TOKEN, is_open=True))
    assert not ask(guard, API).is_through
    assert ask(guard, API, BEARER).is_through


@pytest.mark.parametrize("path", [API, PAGE, STATIC, UPLOAD])
def test_a_server_that_was_bound_elsewhere_unseen_refuses_every_request(path: str) -> None:
    """As by ``uvicorn --host 0.0.0.0 streamlit_app:app``: Streamlit's own option says nothing."""
    refused = ask(gate(), path, **ELSEWHERE)
    assert refused.status == 403
    assert "PERPDUCK_API_TOKEN" in refused.problem["detail"]
    assert connect(gate(), LIVE, **ELSEWHERE).status == 403
    assert connect(gate(), STREAM, **ELSEWHERE).status == 403


@pytest.mark.parametrize("path", [API, PAGE, STATIC, UPLOAD])
def test_what_a_proxy_brings_from_elsewhere_needs_a_token(path: str) -> None:
    """The server takes the asker's address from X-Forwarded-For of a proxy on this machine."""
    name = "desk.example.com"
    proxied, listed = {"client": ("192.0.2.9", 0)}, {"origins": (f"https://{name}",)}
    refused = ask(gate(Access(**listed)), path, {"host": name}, **proxied)
    assert refused.status == 403
    assert "PERPDUCK_API_TOKEN" in refused.problem["detail"]
    assert connect(gate(Access(**listed)), LIVE, {"host": name}, **proxied).status == 403
    assert ask(gate(Access(TOKEN, **listed)), path, BEARER | {"host": name}, **proxied).is_through
    assert ask(gate(Access(is_open=True)), path, {"host": name}, **proxied).is_through


@pytest.mark.parametrize("client", [("::1", 1), ("::ffff:127.0.0.1", 1), ("127.0.0.9", 1), None])
def test_this_machine_is_known_by_every_address_of_its_own(client: object) -> None:
    assert ask(gate(), API, client=client).is_through


def test_a_browser_without_a_session_is_led_to_the_form_and_a_program_is_not() -> None:
    guard = gate(WITH_TOKEN)
    led = ask(guard, "/pair?y=arbusdt&x=a//b", {"accept": "text/html,*/*"})
    assert led.status == 303
    assert led.headers["location"] == "/perpduck/sign-in?next=%2Fpair%3Fy%3Darbusdt%26x%3Da%2F%2Fb"
    assert led.headers["cache-control"] == "no-store"
    assert ask(guard, "/pair", {"accept": "application/json"}).status == 401
    assert post(guard, "/pair", {"accept": "text/html"}).status == 401


def test_below_a_prefix_the_same_paths_are_closed() -> None:
    """``uvicorn --root-path /desk``: the routes see what is below it, and so must the gate."""
    below = {"root_path": "/desk"}
    assert ask(gate(), "/desk/api/health", {"host": "evil.example"}, **below).status == 403
    foreign = {"origin": "http://evil.example"}
    assert post(gate(), "/desk/api/ingest/stop", foreign, **below).status == 403
    led = ask(gate(WITH_TOKEN), "/desk/pair", {"accept": "text/html"}, **below)
    assert led.headers["location"] == "/desk/perpduck/sign-in?next=%2Fdesk%2Fpair"


def test_neither_the_token_nor_the_guess_shows() -> None:
    assert TOKEN not in repr(WITH_TOKEN)
    assert TOKEN not in str(WITH_TOKEN)
    for guess in (TOKEN[:-1], "wrong-horse"):
        refused = ask(gate(WITH_TOKEN), API, {"authorization": f"Bearer {guess}", "host": HERE})
        assert guess not in refused.body.decode() + str(refused.headers)
