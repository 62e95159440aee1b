"""Settings: where they come from, and what is refused in which words."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from core.config import LONGEST_FLUSH_S, Settings, load_settings, parse_duration_s
from core.errors import ConfigError
from core.feed.practice import Market
from core.quiet import QuietHours


@pytest.mark.parametrize(
    ("text", "seconds"), [("30min", 1800), ("90s", 90), ("2h", 7200), ("1d", 86400), ("45", 45)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5min", "3 parsecs", "nan", "1e99d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="duration"):
        parse_duration_s(text)


def test_settings_come_from_the_environment_and_arguments_win(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PERPDUCK_DB", str(tmp_path / "env.duckdb"))
    assert load_settings().db == tmp_path / "env.duckdb"
    assert load_settings(db=tmp_path / "arg.duckdb").db == tmp_path / "arg.duckdb"
    assert load_settings().practice_db() == tmp_path / "practice-7.duckdb"


@pytest.mark.parametrize("seconds", [0.0, 0.04, 5.1, 60.0, float("nan")])
def test_a_flush_interval_that_would_look_stuck_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"0\.05 to 5 seconds"):
        load_settings(flush_interval_s=seconds)
    assert load_settings(flush_interval_s=LONGEST_FLUSH_S).flush_interval_s == 5.0


@pytest.mark.parametrize(
    "url",
    [
        "http://host:abc", "http://[::1", "http://host:99999", "http://:80", "http://", "host",
        "ws://host", "http://host/fapi", "http://host?a=1",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_explained(url: str) -> None:
    with pytest.raises(ConfigError, match="scheme, host and port only"):
        load_settings(rest_url=url)


@pytest.mark.parametrize("url", ["http://host", "https://host:8443/", "http://[::1]:80"])
def test_an_address_that_can_be_used_is_taken(url: str) -> None:
    assert load_settings(rest_url=url).rest_url == url


def test_a_link_to_the_file_stands_for_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real, target_is_directory=True)
    (real / "practice-7.duckdb").symlink_to(tmp_path / "practice.duckdb")
    settings = load_settings(db=tmp_path / "link" / "x.duckdb")
    assert settings.db == real / "x.duckdb"
    assert settings.practice_db() == tmp_path / "practice.duckdb"
    monkeypatch.chdir(real)
    assert load_settings(db=Path("x.duckdb")).db == real / "x.duckdb"


def test_where_alerts_go_comes_from_the_environment_and_is_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = "tgram://123:secret/1  https://hooks.example.com/secret,\nslack://secret/a/b"
    monkeypatch.setenv("PERPDUCK_ALERT_URLS", urls)
    monkeypatch.setenv("PERPDUCK_ALERT_ALLOW_PRIVATE", "yes")
    monkeypatch.setenv("PERPDUCK_ALERT_QUIET", "22:00-07:00 Europe/Berlin")
    monkeypatch.setenv("PERPDUCK_ALERT_PER_MINUTE", "30")
    monkeypatch.setenv("PERPDUCK_ALERT_TRIES", "3")
    settings = load_settings()
    assert settings.alert_urls == (
        "tgram://123:secret/1", "https://hooks.example.com/secret", "slack://secret/a/b",
    )  # fmt: skip
    assert settings.alert_allow_private
    assert settings.alert_quiet == QuietHours(time(22), time(7), "Europe/Berlin")
    assert (settings.alert_per_minute, settings.alert_tries) == (30, 3)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("ALLOW_PRIVATE", "perhaps", "'perhaps'; use 1 or 0"),
        ("PER_MINUTE", "0", "'0'; use a whole number from 1 to 600"),
        ("TRIES", "many", "'many'; use a whole number from 1 to 50"),
        ("QUIET", "at night", "quiet hours of 'at night'; write them as 22:00-07:00"),
        ("QUIET", "25:00-07:00", "quiet hours of '25:00-07:00'"),
        ("QUIET", "07:00-07:00", "quiet hours of '07:00-07:00'"),
        ("QUIET", "22:00-07:00 Nowhere/City", "quiet hours of"),
        ("QUIET", "22:00-07:00 ../../etc/passwd", "quiet hours of"),
    ],
)
def test_alert_settings_that_cannot_be_used_are_explained(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str
) -> None:
    monkeypatch.setenv(f"PERPDUCK_ALERT_{name}", text)
    with pytest.raises(ConfigError, match=words):
        load_settings()


@pytest.mark.parametrize(
    ("seed", "rate", "name"), [(7, 60.0, "practice:7"), (8, 240.0, "practice:8:rate=240")]
)
def test_the_practice_venue_is_what_its_exchange_says(seed: int, rate: float, name: str) -> None:
    """A file that the app makes is one that the worker takes."""
    settings = Settings(practice_seed=seed, practice_rate=rate)
    assert settings.practice_venue() == Market(seed, rate).identity == name
