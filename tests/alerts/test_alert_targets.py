"""Targets: read, named without their secrets, and kept out of private networks."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest
from hooks import Hook

from core.alerts import sending
from core.alerts.delivery import send_test
from core.alerts.safety import Refused, guarded, is_public, leads_inside
from core.alerts.sending import as_test, send, wait_s
from core.alerts.targets import check_target, is_hook, masked, target_key
from core.config import Settings
from core.errors import DataError
from core.trade_writer import utc_now

ALLOWED = Settings(alert_allow_private=True)
# A URL of each, and its secret parts.
SECRET = {
    "tgram://123456789:AbCdEfGhIjKlMnOp_qrs/987654321/": ["123456789", "AbCdEfGhIjKlMnOp_qrs"],
    "slack://TAAAAAAAA/BBBBBBBBB/CcCcCcCcCcCcCcCcCcCcCcCc/#alerts": ["CcCcCcCc", "TAAAAAAAA"],
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ":
        ["TIiajkdnlazkcOXrIdevi7FQ", "A1BRTD4JD"],
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": ["4174216298", "JHMHI8qBe7bk2ZwO5U711"],
    "mailto://trader:hunter2secret@gmail.com": ["hunter2secret", "trader"],
    "https://user:passw0rd@hooks.example.com/deep/token99?key=abcdef": ["passw0rd", "token99",
        "abcdef", "user"],
    "json://hook.example.com/tokenpath": ["tokenpath"],
    "mmost://chat.example.com/abcdefghijklmnopqrstuvwx": ["abcdefghijklmnop"],
    "ntfy://secrettopic": ["secrettopic"],
    "pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@tttttttttttttttttttttttttttttt": ["uuuuuu", "tttttt"],
    "gotify://push.example.com/Atokentoken1234": ["Atokentoken1234"],
}  # fmt: skip


@pytest.mark.parametrize("url", SECRET)
def test_no_secret_is_ever_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        check_target(url, Settings())
        shown = [masked(url), target_key(url)]
        # Names are not resolved here: it fails, and says so without a secret.
        shown.append(send(url, as_test(), Settings()).note)
        for broken in (url.replace("://", "x://", 1), url + " twice", url[: url.index("://") + 3]):
            with pytest.raises(DataError) as told:
                check_target(broken, Settings())
            shown.append(str(told.value))
        shown.append(repr(Settings(alert_urls=(url,))))
    mine = "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("asyncio"))
    for secret in SECRET[url]:
        assert not any(secret in text for text in shown), secret
        assert secret not in mine


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is asked for outside: only addresses and localhost are known."""
    resolve = socket.getaddrinfo

    def known(host: object, *arguments: object, **more: object) -> object:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name == "localhost" or name.replace(".", "").isdigit() or ":" in name:
            return resolve(host, *arguments, **more)  # type: ignore[arg-type]
        raise socket.gaierror(-2, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", known)


def test_two_targets_of_a_service_are_told_apart() -> None:
    first, second = (f"https://hooks.example.com/{token}" for token in ("one", "two"))
    assert masked(first) != masked(second)
    assert masked(first).startswith("https://hooks.example.com/…")
    assert masked("tgram://123456789:AbCdEfGhIjKlMnOp_qrs/98/").startswith("Telegram (")


def test_a_services_own_address_is_no_plain_webhook() -> None:
    slack = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert not is_hook(slack)
    assert masked(slack).startswith("Slack (")
    assert is_hook("https://hooks.example.com/x")
    assert is_hook("jsons://hooks.example.com/x")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "a target is one URL"),
        ("hooks.example.com", "a target is one URL"),
        ("https://a b", "a target is one URL"),
        ("https://" + "a" * 2000, "a target is one URL"),
        ("nosuch://x", "nosuch:// is no service"),
        ("https://:99999/", "host or port"),
        ("slack://bad", "Slack cannot read this URL"),
        ("http://localhost/x", "private network; set PERPDUCK_ALERT_ALLOW_PRIVATE=1"),
        ("syslog://localhost", "private network"),
    ],
)
def test_what_cannot_be_used_says_why(url: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_target(url, Settings())


INSIDE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1",
    "fe80::1%eth0", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.0.1", "198.18.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_known(address: str) -> None:
    assert not is_public(address)
    assert leads_inside(address)


def test_addresses_outside_are_known() -> None:
    for address in ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(address)
        assert not leads_inside(address)
    assert not is_public("example.com")
    assert not leads_inside("example.com")
    for odd in ("2130706433", "0x7f.1", "127.1", "localhost", "LOCALHOST.", "a.localhost", "[::1]"):
        assert leads_inside(odd)


@pytest.mark.parametrize(
    "make",
    [
        lambda hook: hook.url(),
        lambda hook: hook.url(host="localhost"),
        lambda hook: hook.url(host="127.1"),
        lambda hook: hook.url(host="2130706433"),
        lambda hook: hook.url(host="[::ffff:127.0.0.1]"),
        lambda hook: hook.url(scheme="json"),
        lambda hook: hook.url("abcdefghijklmnopqrstuvwx", "mmost"),
        lambda hook: f"mailto://u:p@localhost:{hook.port}?from=a@b.co&to=a@b.co&smtp=127.0.0.1",
        lambda hook: f"gotify://127.0.0.1:{hook.port}/Atokentoken1234",
    ],
)
def test_nothing_reaches_this_machine_unless_allowed(make: object) -> None:
    with Hook() as hook:
        url = make(hook)  # type: ignore[operator]
        answer = send(url, as_test(), Settings())
        assert not answer.is_taken
        assert answer.is_final
        assert "private address" in answer.note
        assert "PERPDUCK_ALERT_ALLOW_PRIVATE" in answer.note
        assert not hook.calls
        if not url.startswith("mailto"):
            send(url, as_test(), ALLOWED)
            assert len(hook.calls) == 1


def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hook() as hook:
        answers = ["93.184.216.34", "127.0.0.1"]
        asked: list[str] = []

        def rebinding(host: object, port: int, *_: object, **__: object) -> object:
            address = answers[min(len(asked), 1)]
            asked.append(address)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        url = f"http://hooks.example.com:{hook.port}/x"
        check_target(url, Settings())
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        asked.append("looked at first")
        answer = send(url, as_test(), Settings())
        assert "private address 127.0.0.1" in answer.note
        assert not hook.calls


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["http", "mmost"])
def test_a_redirect_is_not_followed(status: int, scheme: str) -> None:
    with Hook() as inner, Hook([(status, {"Location": inner.url()})]) as hook:
        answer = send(hook.url("abcdefghijklmnopqrstuvwx", scheme), as_test(), ALLOWED)
        assert answer.note == f"HTTP {status}: redirects are not followed"
        assert answer.is_final
        assert not inner.calls


def test_other_threads_connect_as_they_like() -> None:
    with Hook() as hook:
        found: list[int] = []

        def other() -> None:
            with socket.create_connection(("127.0.0.1", hook.port), 5):
                found.append(1)

        with guarded(allow_private=False) as guard:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            with pytest.raises(Refused):
                socket.create_connection(("127.0.0.1", hook.port), 5)
        assert found == [1]
        assert "127.0.0.1" in guard.refused
        other()


def test_a_sender_starts_no_program_and_speaks_to_none() -> None:
    import subprocess

    with guarded(allow_private=True) as guard:
        with pytest.raises(Refused):
            subprocess.run(["true"], check=True)
    assert "start a program" in guard.refused
    with (
        socket.socket(socket.AF_UNIX) as unix,
        guarded(allow_private=False),
        pytest.raises(Refused),
    ):
        unix.connect("/run/none.sock")


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hook() as proxy, Hook() as hook:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        for url in (hook.url(), hook.url("abcdefghijklmnopqrstuvwx", "mmost")):
            assert send(url, as_test(), ALLOWED).is_taken
        assert not proxy.calls
        assert len(hook.calls) == 2


def test_a_test_message_says_what_came_of_it() -> None:
    with Hook([200, 404]) as hook:
        assert send_test(hook.url(), ALLOWED) == ""
        assert hook.calls[0]["body"]["events"][0]["is_test"]
        assert hook.calls[0]["headers"]["Idempotency-Key"] == hook.calls[0]["body"]["key"]
        assert send_test(hook.url(), ALLOWED) == "HTTP 404"
        assert "private network" in send_test(hook.url(), Settings())
    assert "could not be reached" in send_test(hook.url(), ALLOWED)


def test_user_and_password_go_by_header_not_by_address() -> None:
    with Hook() as hook:
        parts = urlsplit(hook.url("a?b=c"))
        url = f"http://us%40er:pa%3Ass@{parts.netloc}{parts.path}?{parts.query}"
        assert send(url, as_test(), ALLOWED).is_taken
        assert (
            hook.calls[0]["headers"]["Authorization"]
            == httpx.BasicAuth("us@er", "pa:ss")._auth_header
        )
        assert hook.calls[0]["path"] == "/a?b=c"


def test_one_that_drips_for_ever_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TOTAL_S", 1.0)
    with Hook(["drip"]) as hook:
        answer = send(hook.url(), as_test(), ALLOWED)
        assert answer.note == "no answer within 1 s"
        assert not answer.is_final


def test_how_long_to_wait_is_read_from_the_answer() -> None:
    now = utc_now().replace(microsecond=0)
    assert wait_s(None) is None
    assert wait_s("7") == 7.0
    assert wait_s("100000") == 3600.0
    assert wait_s("-5") == 0.0
    assert wait_s("soon") is None
    assert wait_s("Sun, 22 Nov 2026 10:00:30 GMT", now.replace(2026, 11, 22, 10, 0, 0)) == 30.0
    with Hook([(429, {"Retry-After": "9"}), (503, {"Retry-After": "3"})]) as hook:
        assert send(hook.url(), as_test(), ALLOWED).retry_after_s == 9.0
        assert send(hook.url("abcdefghijklmnopqrstuvwx", "mmost"), as_test(), ALLOWED) == (
            sending.Answer(False, "HTTP 503", 3.0)
        )


def test_it_works_inside_a_running_loop_of_another_thread() -> None:
    with Hook() as hook:

        async def main() -> bool:
            answer = await asyncio.to_thread(send, hook.url(), as_test(), ALLOWED)
            return answer.is_taken

        assert asyncio.run(main())
