"""Who may use the server: what the settings say of it, and what a token and a cookie prove."""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer

from core.config import Settings
from core.errors import ConfigError

SESSION_S = 30 * 86_400

REFUSED = (
    "Perpduck is bound to {address}, which others can reach. Set PERPDUCK_API_TOKEN to a long "
    "random text (browsers sign in with it, programs send it as Authorization: Bearer), configure "
    "Streamlit's own login, bind to 127.0.0.1 (--server.address 127.0.0.1), or set "
    "PERPDUCK_API_OPEN=1 if everybody who can reach it may use it."
)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use this server: with a token, by a login of the pages, or everybody.

    ``origins`` are other sites whose pages may use the API, and other names of this server;
    ``is_login``: the pages ask for a login of their own, so that only they are let through
    without the token. Where there is a token, ``is_open`` changes nothing.
    """

    token: str = field(default="", repr=False)
    is_open: bool = False
    is_login: bool = False
    origins: tuple[str, ...] = ()

    @property
    def is_protected(self) -> bool:
        """Whether not everybody gets in."""
        return bool(self.token) or self.is_login

    @staticmethod
    def of(settings: Settings, *, is_login: bool) -> Access:
        """Return what the settings say."""
        return Access(settings.api_token, settings.api_open, is_login, settings.api_origins)

    def is_token(self, given: str) -> bool:
        """Return whether that is the token, in the same time whatever is given."""
        mine, theirs = (
            hashlib.sha256(one.encode(errors="surrogatepass")).digest()
            for one in (self.token, given)
        )
        return bool(self.token) and hmac.compare_digest(mine, theirs)

    def session(self) -> str:
        """Return what a browser that has signed in keeps."""
        return _serializer(self.token).dumps("in")

    def is_session(self, given: str) -> bool:
        """Return whether a browser was given that, not too long ago, by this token."""
        try:
            return bool(_serializer(self.token).loads(given, max_age=SESSION_S) == "in")
        except BadData:
            return False

    def is_own_name(self, host: str) -> bool:
        """Return whether a Host header names this machine, or a site that is listed."""
        name = host_name(f"//{host}")
        return not host or is_loopback(name) or name in map(host_name, self.origins)


@functools.lru_cache(maxsize=4)
def _serializer(token: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(token, salt="perpduck-session")


def host_name(url: str) -> str:
    """Return the name in an address, lower-case; "" of what is no address."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def is_origin_of(origin: str, host: str) -> bool:
    """Return whether a page of that origin came from that very host and port."""
    try:
        place = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return bool(place) and place == host.lower()


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches that address."""
    try:
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address.lower() == "localhost"
    # As a socket of both kinds tells of IPv4; before Python 3.13 no loopback by itself.
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def demand_protection(address: str | None, access: Access) -> None:
    """Raise ConfigError where others can reach the server and nothing keeps them out."""
    if access.is_protected or access.is_open or (address and address.startswith("unix:")):
        return
    if not address or not is_loopback(address):
        raise ConfigError(REFUSED.format(address=address or "every address of this machine"))
