"""Where alerts go: URLs, their names without secrets, and whether they can be used."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from functools import cache, lru_cache
from typing import Any
from urllib.parse import urlsplit

import apprise
from apprise.manager_plugins import NotificationManager

from core.alerts.safety import leads_inside
from core.config import Settings
from core.errors import DataError

LONGEST_URL = 2_000
HOOKS = {"http": "http", "https": "https", "json": "http", "jsons": "https"}
# They talk to this machine, not to a network.
_LOCAL = frozenset({"dbus", "qt", "kde", "glib", "gnome", "gio", "macosx", "windows", "syslog",
                    "blink1", "shell"})  # fmt: skip
PRIVATE_HELP = "set PERPDUCK_ALERT_ALLOW_PRIVATE=1 to allow targets inside your own network"

# Their lines hold addresses with their secrets, whatever process they send in and however much it
# logs; what matters is told on the delivery.
for _name in ("apprise", "httpx", "httpcore", "urllib3", "requests_oauthlib", "oauthlib"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


def target_key(url: str) -> str:
    """Return a digest by which a target is known once its URL is gone."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


@lru_cache(maxsize=1000)
def masked(url: str) -> str:
    """Return a target's name without secrets: its service or host, and a piece of its digest."""
    digest = target_key(url)[:4]
    with contextlib.suppress(ValueError):
        if is_hook(url):
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
            return f"{HOOKS[parts.scheme.lower()]}://{parts.hostname or '?'}{port}/… ({digest})"
    return f"{_service(url)} ({digest})"


def is_hook(url: str) -> bool:
    """Return whether a target is a plain webhook, which gets JSON, and no service's own address."""
    scheme = url.partition("://")[0].lower()
    if scheme in ("json", "jsons"):
        return True
    return scheme in HOOKS and _plugin(url) is None


def service_of(url: str) -> apprise.NotifyBase | None:
    """Return what apprise sends to such a URL with; None where it cannot read it."""
    return _plugin(url)


def check_target(url: str, settings: Settings) -> None:
    """Raise DataError for a target that cannot be used; the words hold no secret."""
    scheme, found, rest = url.strip().partition("://")
    scheme = scheme.lower()
    if not found or not rest or len(url) > LONGEST_URL or len(url.split()) != 1:
        raise DataError(
            "a target is one URL, such as https://hooks.example.com/perpduck or "
            "tgram://BOT_TOKEN/CHAT_ID"
        )
    if scheme not in HOOKS and scheme not in _schemes():
        raise DataError(f"{scheme[:20]}:// is no service that alerts can be sent to")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        # Services keep what they like where a port would be.
        host = ""
    # Many services have a token where a host would be.
    is_host = is_hook(url) or "." in host or ":" in host or host == "localhost"
    is_inside = scheme in _LOCAL or (is_host and leads_inside(host))
    if is_inside and not settings.alert_allow_private:
        raise DataError(f"{masked(url)} is on this machine or a private network; {PRIVATE_HELP}")
    if is_hook(url):
        if not host:
            raise DataError(f"the host or port of this {scheme}:// URL cannot be read")
    elif _plugin(url) is None:
        raise DataError(f"{_service(url)} cannot read this URL: something is missing in it")


def _plugin(url: str) -> apprise.NotifyBase | None:
    return apprise.Apprise.instantiate(url, asset=_asset())


def _asset() -> apprise.AppriseAsset:
    return apprise.AppriseAsset(
        async_mode=False,
        secure_logging=True,
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        app_id="Perpduck",
        app_desc="Perpduck",
        app_url="",
        image_url_mask="",
        image_url_logo="",
    )


@cache
def _schemes() -> frozenset[str]:
    return frozenset(_known().schemas())


@cache
def _known() -> Any:
    manager: Any = NotificationManager
    return manager()


def _service(url: str) -> str:
    found: Any = None
    with contextlib.suppress(Exception):
        found = _plugin(url)
    if found is not None:
        return str(found.service_name)
    scheme = url.partition("://")[0].lower()
    if scheme in _schemes():
        return str(_known()[scheme].service_name)
    return "unknown service"
