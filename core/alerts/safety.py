"""Where an outgoing message may connect to: not into this machine, nor into private networks.

The check stands at the connect itself, on the address that a name was resolved to, whatever
library connects: a name that resolves to another address the second time gains nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache

# 6to4, and the prefix behind which IPv6-only networks show IPv4 addresses.
_WRAPPED = (
    (ipaddress.ip_network("2002::/16"), 80),
    (ipaddress.ip_network("64:ff9b::/96"), 0),
)
_STARTS_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn",
                    "os.startfile", "syslog.syslog")  # fmt: skip


class Refused(PermissionError):
    """A connection to an address that is not to be reached."""


class Guard:
    """What was refused while it stood, empty where nothing was."""

    def __init__(self, *, allow_private: bool) -> None:
        self.allow_private = allow_private
        self.refused = ""

    def _refuse(self, what: str) -> None:
        self.refused = self.refused or what
        raise Refused(what)

    def check(self, event: str, arguments: tuple[object, ...]) -> None:
        """Raise Refused for what a sender must not do."""
        if event in _STARTS_PROGRAMS:
            self._refuse("it would start a program on this machine")
        if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            return
        where = arguments[1] if len(arguments) > 1 else None
        if where is None:
            return
        if not isinstance(where, tuple):
            if not self.allow_private:
                self._refuse("it would connect to a program on this machine")
            return
        if not self.allow_private and not is_public(str(where[0])):
            self._refuse(f"it leads to the private address {where[0]}")


_guard: ContextVar[Guard | None] = ContextVar("guard", default=None)


@contextlib.contextmanager
def guarded(*, allow_private: bool) -> Iterator[Guard]:
    """Hold what the block connects to, in this thread and its tasks, to public addresses."""
    _install()
    guard = Guard(allow_private=allow_private)
    token = _guard.set(guard)
    try:
        yield guard
    finally:
        _guard.reset(token)


@cache
def _install() -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        guard = _guard.get()
        if guard is not None:
            guard.check(event, arguments)

    # A hook can never be taken away again; where no guard stands it costs a look.
    sys.addaudithook(hook)


def is_public(address: str) -> bool:
    """Return whether a numeric address can be anybody's; a name is not."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        for network, shift in _WRAPPED:
            if ip in network:
                inner = ipaddress.IPv4Address(int(ip) >> shift & 0xFFFFFFFF)
                return is_public(str(inner))
        if ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast


def leads_inside(host: str) -> bool:
    """Return whether a host is plainly of this machine or a private network; names are not asked.

    Numbers in their odd forms (2130706433, 0x7f.1) are read as the system reads them.
    """
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(bare)))
    except OSError:
        pass
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return False
    return not is_public(bare)
