"""Runs the server on a socket that was opened before its models were."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from risctl.demo.access import LEAST_TOKEN
from risctl.errors import MachineError, UsageError

LOOPBACK = "127.0.0.1"
_GRACE = 15
"""Seconds that requests have left once the server is told to end."""


def checked_token(token: str | None) -> str:
    """Returns a token: the given one, or a new one.

    Raises:
        UsageError: It is too short to keep anybody out, or cannot stand in a header.
    """
    if token is None:
        return secrets.token_urlsafe(24)
    if len(token) < LEAST_TOKEN or not all("!" <= character <= "~" for character in token):
        raise UsageError(
            f"expected a token of {LEAST_TOKEN} characters or more, letters, digits and signs without spaces; leave "
            "--token out to get a new one"
        )
    return token


def open_socket(address: str, port: int) -> socket.socket:
    """Opens the socket to answer on; nothing is answered before `serve`.

    Args:
        address: An address of this machine, as numbers.
        port: The port; 0 for one that is free.

    Raises:
        UsageError: The address is none.
        MachineError: The port is in use, or the address is not of this machine.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    except ValueError:
        raise UsageError(
            f"expected an address as numbers, such as 192.168.1.20, or 0.0.0.0 for all; got {address!r}"
        ) from None
    # The protocol is named, for only then does asyncio send small parts at once (TCP_NODELAY): else the body of every
    # answer waits until the other end has confirmed its head, 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((address, port))
        opened.listen(128)
    except OSError as error:
        opened.close()
        if port:
            hint = "give another --port, or --port 0 for one that is free"
            raise MachineError(f"port {port} of {address} cannot be opened: {error.strerror}; {hint}") from error
        raise MachineError(f"{address} cannot be opened: {error.strerror}") from error
    return opened


def address_of(opened: socket.socket) -> str:
    """Returns the address of the page."""
    host, port = opened.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(app: ASGIApp, opened: socket.socket, *, ready: Callable[[], None]) -> None:
    """Answers until SIGINT or SIGTERM, then finishes what it has begun, and raises what the signal raises.

    Args:
        app: The application.
        opened: The socket.
        ready: Called once requests are answered.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        h11_max_incomplete_event_size=32_768,
        limit_concurrency=512,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config)
    server.ready = ready
    server.run(sockets=[opened])


class _Server(uvicorn.Server):
    ready: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.ready()
