"""The page that takes the token: what it gives for it, where it leads, how often it is asked."""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.api import Access
from core.api.limits import SIGN_INS_A_MINUTE
from core.api.sign_in import MOST_BYTES, SIGN_IN, own_place
from tests.api.safe_servers import HERE, TOKEN, Told, ask, gate, post

WITH_TOKEN = Access(TOKEN)
FORM = {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{HERE}"}


def sign_in(guard: object = None, token: str = TOKEN, place: str = "/", **options: object) -> Told:
    headers = FORM | options.pop("headers", {})  # type: ignore[operator]
    body = options.pop("body", [f"token={quote(token)}".encode()])
    path = f"{SIGN_IN}?next={quote(place, safe='')}"
    return post(guard or gate(WITH_TOKEN), path, headers, body=body, **options)  # type: ignore[arg-type]


def test_the_form_is_shown_to_everybody_and_kept_by_nobody() -> None:
    told = ask(gate(WITH_TOKEN), f"{SIGN_IN}?next=%2Fpair%3Fa%3D1")
    assert told.status == 200
    assert 'action="/perpduck/sign-in?next=/pair%3Fa%3D1"' in told.body.decode()
    assert 'type="password"' in told.body.decode()
    assert told.headers["cache-control"] == "no-store"
    policy = told.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy


def test_without_a_token_there_is_no_form() -> None:
    assert ask(gate(), SIGN_IN).is_through  # the app has no such page: it says so
    assert ask(gate(Access(is_login=True)), SIGN_IN).is_through


def test_the_token_gets_a_cookie_that_scripts_and_other_sites_do_not_have() -> None:
    told = sign_in(place="/pair?y=arbusdt")
    assert (told.status, told.headers["location"]) == (303, "/pair?y=arbusdt")
    parts = {part.strip().lower() for part in told.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=2592000"} <= parts
    assert "secure" not in parts
    assert TOKEN not in str(told.headers)
    kept = told.headers["set-cookie"].split(";")[0]
    assert ask(gate(WITH_TOKEN), "/pair", {"cookie": kept}).is_through


def test_over_tls_the_cookie_is_for_tls_only() -> None:
    told = sign_in(scheme="https", headers={"origin": f"https://{HERE}"})
    assert "secure" in told.headers["set-cookie"].lower()


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper()])
def test_another_text_gets_the_form_again(token: str) -> None:
    told = sign_in(token=token)
    assert told.status == 401
    assert "set-cookie" not in told.headers
    assert "is not the token" in told.body.decode()
    assert token == "" or token not in told.body.decode()


@pytest.mark.parametrize(
    "body",
    [[b""], [b"token"], [b"\xff\xfe"], [b"other=1"], [b"=" * 100], [b"token=&token=" * 50]],
)
def test_what_is_no_form_gets_it_again(body: list[bytes]) -> None:
    assert sign_in(body=body).status == 401


def test_too_large_a_form_is_not_read() -> None:
    whole = [b"x" * (MOST_BYTES + 1)]
    assert sign_in(body=whole, headers={"content-length": str(len(whole[0]))}).status == 413
    chunks = [b"x" * 1024] * (MOST_BYTES // 1024 + 1)
    assert sign_in(body=chunks, headers={"transfer-encoding": "chunked"}).status == 413


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://["},
                {"sec-fetch-site": "cross-site"}],
)  # fmt: skip
def test_another_site_signs_nobody_in(headers: dict[str, str]) -> None:
    told = sign_in(headers=headers)
    assert told.status == 403
    assert "set-cookie" not in told.headers


def test_one_address_tries_ten_times_a_minute_and_others_go_on() -> None:
    guard = gate(WITH_TOKEN)
    for _ in range(SIGN_INS_A_MINUTE):
        assert sign_in(guard, "wrong").status == 401
    refused = sign_in(guard)
    assert refused.status == 429  # the right one too: whoever guesses learns nothing
    assert int(refused.headers["retry-after"]) >= 1
    assert "set-cookie" not in refused.headers
    assert ask(guard, SIGN_IN).status == 200
    assert sign_in(guard, client=("192.0.2.9", 1)).status == 303


@pytest.mark.parametrize(
    "place",
    ["//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
     "/\n/evil.example", "https://evil.example", "javascript:alert(1)", "evil.example", "", "/a\\b",
     "/\x00", " //evil.example", "/\r\nset-cookie: x=1", "http:/evil.example", "@evil.example"],
)  # fmt: skip
def test_it_leads_to_no_other_site(place: str) -> None:
    told = sign_in(place=place)
    assert (told.status, told.headers["location"]) == (303, "/")
    shown = ask(gate(WITH_TOKEN), f"{SIGN_IN}?next={quote(place, safe='')}").body.decode()
    assert "evil" not in shown
    assert "alert" not in shown


@given(st.text(max_size=40) | st.text("/\\.@:%\t evil", max_size=12).map(lambda text: f"/{text}"))
def test_wherever_it_leads_is_here(place: str) -> None:
    found = own_place(place)
    # As browsers read it: a backslash is a slash, tabs and line ends are not there at all.
    read = re.sub(r"[\t\r\n]", "", found).replace("\\", "/")
    assert urlsplit(urljoin(f"http://{HERE}/perpduck/sign-in", read)).netloc == HERE


def test_what_is_asked_for_cannot_become_part_of_the_page() -> None:
    place = "/\"><script>alert(1)</script>'</script>"
    shown = ask(gate(WITH_TOKEN), f"{SIGN_IN}?next={quote(place, safe='')}").body.decode()
    assert "<script>alert" not in shown
    assert shown.count("</script>") == 1


def test_below_a_prefix_the_form_is_sent_there_too() -> None:
    told = ask(gate(WITH_TOKEN), f"/desk{SIGN_IN}", root_path="/desk")
    assert 'action="/desk/perpduck/sign-in' in told.body.decode()
