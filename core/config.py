"""Settings: frozen, with defaults; the only reader of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import ConfigError
from core.quiet import QuietHours, parse_quiet

BINANCE_WS_URL = "wss://fstream.binance.com"
BINANCE_REST_URL = "https://fapi.binance.com"
BINANCE_VENUE = "binance"
PRACTICE_SEED, PRACTICE_RATE = 7, 60.0
# Between two writes the worker shows no sign of life; longer, and it would look stuck.
LONGEST_FLUSH_S = 5.0
MOST_DAYS = 36_500
# A token that can be guessed in an afternoon is none.
SHORTEST_TOKEN = 16
# What a new symbol gets: a week of bars, and all settlements (the first was in 2019).
HISTORY_S, FUNDING_S = 7 * 86_400.0, 8 * 366 * 86_400.0

_HOME = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set from outside, with the value used when nothing is.

    Durations are seconds. ``venue`` names whose ids the file holds: ``binance``, or
    ``practice:<seed>``; None means "as the exchange says of itself".
    """

    db: Path = _HOME / "data" / "perpduck.duckdb"
    ws_url: str = BINANCE_WS_URL
    rest_url: str = BINANCE_REST_URL
    venue: str = BINANCE_VENUE
    practice: bool = False
    practice_seed: int = PRACTICE_SEED
    practice_rate: float = PRACTICE_RATE
    flush_interval_s: float = 0.5
    backfill_s: float = 0.0
    # "History reaches back about 24-48 h": what is absent and older than this may be forgotten.
    history_s: float = 24 * 3600.0
    # How far back the worker fetches 1-minute bars and funding rates of a watched symbol; 0 for
    # none, which `load_settings` raises to HISTORY_S and FUNDING_S.
    history_klines_s: float = 0.0
    history_funding_s: float = 0.0
    # Trades of days older than this move to Parquet files in ``lake``; None keeps all.
    retention_days: int | None = None
    lake: str = ""
    # Frames may stop for this long on a quiet symbol before the connection is suspected.
    silence_s: float = 20.0
    recycle_s: float = 23 * 3600.0
    streams_per_connection: int = 200
    weight_per_minute: int = 2400
    # Rows held in memory before the buffer spills to Parquet beside the file.
    buffer_rows: int = 2_000_000
    busy_wait_s: float = 1.0
    log_json: bool = False
    # Where alerts of rules without targets of their own go: URLs with secrets, so never shown.
    alert_urls: tuple[str, ...] = field(default=(), repr=False)
    # Targets on this machine and in private networks are refused unless this says otherwise.
    alert_allow_private: bool = False
    # Messages a minute to one target, and failures after which a delivery is given up.
    alert_per_minute: int = 12
    alert_tries: int = 8
    alert_quiet: QuietHours | None = None
    # What programs and browsers must know of where others can reach the app; a secret.
    api_token: str = field(default="", repr=False)
    api_open: bool = False
    # Other sites whose pages may use the API.
    api_origins: tuple[str, ...] = ()
    # Requests a second of one address, and the bytes of an upload.
    api_rate: float = 100.0
    api_upload_bytes: int = 2 << 30
    # The scheduler of a Dask cluster on which heavy work runs; empty: on this machine.
    dask_address: str = ""

    def practice_db(self) -> Path:
        """Return the practice exchange's own file, beside the live one."""
        return (self.db.parent / f"practice-{self.practice_seed}.duckdb").resolve()

    def practice_venue(self) -> str:
        """Return the venue whose ids the practice exchange's file holds."""
        return practice_venue(self.practice_seed, self.practice_rate)

    def practised(self) -> Settings:
        """Return the settings on the practice exchange's own file, with a lake of its own."""
        db = self.practice_db()
        is_default = self.lake == default_lake(self.db)
        return replace(self, db=db, lake=default_lake(db) if is_default else self.lake)


def practice_venue(seed: int, rate: float) -> str:
    """Return the practice exchange's name: it changes with everything that changes the ids."""
    return f"practice:{seed}" + ("" if rate == PRACTICE_RATE else f":rate={rate:g}")


def load_settings(**overrides: object) -> Settings:
    """Build the settings from the environment, then from the given values that are not None.

    Raises ConfigError for a value that cannot be used.
    """
    environment: dict[str, object] = {
        "history_klines_s": HISTORY_S,
        "history_funding_s": FUNDING_S,
    }
    if db := os.environ.get("PERPDUCK_DB"):
        environment["db"] = Path(db).expanduser()
    if ws_url := os.environ.get("PERPDUCK_WS_URL"):
        environment["ws_url"] = ws_url
    if rest_url := os.environ.get("PERPDUCK_REST_URL"):
        environment["rest_url"] = rest_url
    if rate := os.environ.get("PERPDUCK_PRACTICE_RATE"):
        environment["practice_rate"] = _positive("PERPDUCK_PRACTICE_RATE", rate)
    if history := os.environ.get("PERPDUCK_HISTORY"):
        environment |= history_settings(history)
    if days := os.environ.get("PERPDUCK_KEEP_DAYS"):
        environment["retention_days"] = parse_keep_days("PERPDUCK_KEEP_DAYS", days)
    if lake := os.environ.get("PERPDUCK_LAKE"):
        environment["lake"] = lake
    environment |= _alert_settings() | _api_settings()
    if address := os.environ.get("PERPDUCK_DASK_ADDRESS", "").strip():
        environment["dask_address"] = address
    given = {key: value for key, value in overrides.items() if value is not None}
    settings = replace(Settings(), **(environment | given))  # type: ignore[arg-type]
    _check_url("--ws-url", settings.ws_url, ("ws", "wss"))
    _check_url("--rest-url", settings.rest_url, ("http", "https"))
    if not 0.05 <= settings.flush_interval_s <= LONGEST_FLUSH_S:
        raise ConfigError(
            f"--flush-interval is {settings.flush_interval_s:g} s; "
            f"use 0.05 to {LONGEST_FLUSH_S:g} seconds"
        )
    # Lock, pid and spill lie beside the file by its name: one file must have one name.
    settings = replace(settings, db=Path(settings.db).expanduser().resolve())
    return replace(settings, lake=_lake_of(settings))


def _alert_settings() -> dict[str, object]:
    found: dict[str, object] = {}
    if urls := os.environ.get("PERPDUCK_ALERT_URLS"):
        found["alert_urls"] = tuple(dict.fromkeys(url.strip(",") for url in urls.split()))
    if private := os.environ.get("PERPDUCK_ALERT_ALLOW_PRIVATE"):
        found["alert_allow_private"] = _yes_or_no("PERPDUCK_ALERT_ALLOW_PRIVATE", private)
    if quiet := os.environ.get("PERPDUCK_ALERT_QUIET"):
        found["alert_quiet"] = parse_quiet(quiet)
    for name, most in (("per_minute", 600), ("tries", 50)):
        key = f"PERPDUCK_ALERT_{name.upper()}"
        if text := os.environ.get(key):
            found[f"alert_{name}"] = _whole(key, text, most)
    return found


def _api_settings() -> dict[str, object]:
    found: dict[str, object] = {}
    if token := os.environ.get("PERPDUCK_API_TOKEN", "").strip():
        if len(token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"PERPDUCK_API_TOKEN has {len(token)} characters; use {SHORTEST_TOKEN} or more"
            )
        found["api_token"] = token
    if is_open := os.environ.get("PERPDUCK_API_OPEN"):
        found["api_open"] = _yes_or_no("PERPDUCK_API_OPEN", is_open)
    if origins := os.environ.get("PERPDUCK_API_ORIGINS"):
        found["api_origins"] = tuple(_origin(one) for one in origins.replace(",", " ").split())
    if rate := os.environ.get("PERPDUCK_API_RATE"):
        found["api_rate"] = _positive("PERPDUCK_API_RATE", rate)
    if size := os.environ.get("PERPDUCK_API_UPLOAD_MB"):
        found["api_upload_bytes"] = _whole("PERPDUCK_API_UPLOAD_MB", size, 1_000_000) << 20
    return found


def _origin(text: str) -> str:
    """Return an origin as browsers write it. Raises ConfigError."""
    _check_url("PERPDUCK_API_ORIGINS", text, ("http", "https"))
    return text.rstrip("/").lower()


def history_settings(text: str) -> dict[str, object]:
    """Return the settings of a history such as ``7d``; ``0`` fetches no funding rates either.

    Raises ConfigError for what is no duration.
    """
    seconds = parse_duration_s(text)
    return {"history_klines_s": seconds, "history_funding_s": FUNDING_S if seconds else 0.0}


def _lake_of(settings: Settings) -> str:
    """Return where finished days go: as given, or the folder beside the database."""
    if not settings.lake:
        return default_lake(settings.db)
    if "://" in settings.lake:
        return settings.lake.rstrip("/")
    return str(Path(settings.lake).expanduser().resolve())


def default_lake(db: Path) -> str:
    """Return the folder beside the database."""
    return str(db.with_name(f"{db.stem}-lake"))


def parse_keep_days(name: str, text: str) -> int:
    """Return a number of days from 1 on. Raises ConfigError for anything else."""
    if not (text.strip().isdecimal() and 1 <= int(text) <= MOST_DAYS):
        raise ConfigError(f"{name} is {text!r}; use a whole number of days, 1 or more")
    return int(text)


def parse_duration_s(text: str) -> float:
    """Return the seconds in a duration such as ``30min``, ``90s``, ``2h`` or ``1d``.

    Raises ConfigError for anything else.
    """
    units = {"ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    cleaned = text.strip().lower()
    digits = cleaned.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = cleaned[len(digits) :].strip() or "s"
    try:
        seconds = float(digits) * units[unit]
    except (KeyError, ValueError):
        raise ConfigError(f"{text!r} is not a duration; write it as 30min, 90s, 2h or 1d") from None
    if not 0 <= seconds < 1e9:
        raise ConfigError(f"{text!r} is out of range; use a duration between 0 and 30 years")
    return seconds


def _yes_or_no(name: str, text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.strip().lower() not in known:
        raise ConfigError(f"{name} is {text!r}; use 1 or 0")
    return known[text.strip().lower()]


def _whole(name: str, text: str, most: int) -> int:
    if not (text.strip().isdecimal() and 1 <= int(text) <= most):
        raise ConfigError(f"{name} is {text!r}; use a whole number from 1 to {most}")
    return int(text)


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ConfigError(f"{name} is {text!r}; use a number above 0")
    return value


def _check_url(name: str, url: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        usable = usable and not (parts.path.strip("/") or parts.query or parts.fragment)
    except ValueError:  # of a port that is no number, or a bracket that is never closed
        usable = False
    if not usable:
        raise ConfigError(
            f"{name} is {url!r}; give scheme, host and port only, as in {schemes[-1]}://host:port"
        )
