"""Who may ask: the address that a request names, where it comes from, and its token; and what browsers may do."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from risctl.demo.problems import ProblemError

LEAST_TOKEN = 16
"""Characters of a token, at least."""

GUARDED = ("/v1/", "/metrics", "/openapi.json")
"""Beginnings of the paths that need the token; the page itself holds nothing that is secret."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Lets through what names this server by an address that a stranger's domain cannot have, and has the token.

    A page of a stranger could let its own domain point to this machine, and so read what this server answers. Such
    requests carry the stranger's name in their Host header; numbers and the names that are listed cannot be his.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, shared: bool, hosts: Collection[str] = ()) -> None:
        """Takes the application.

        Args:
            app: What answers.
            token: The secret that requests must send as a bearer token; None: none.
            shared: Whether other machines may ask, by any number.
            hosts: Names of this machine by which it may be asked.
        """
        self._app, self._shared = app, shared
        self._token = None if token is None else token.encode()
        self._hosts = {"localhost", *(host.lower().rstrip(".") for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or refuses it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        problem = self._problem(scope)
        await (self._app if problem is None else problem.response())(scope, receive, headed)

    def _problem(self, scope: Scope) -> ProblemError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own(host):
            return ProblemError(421, "wrong-host", "this server is not known by that name; see `--allow-host`")
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host.lower():
            return ProblemError(403, "other-origin", "pages of other addresses may not ask this server")
        path: str = scope["path"]
        if self._token is not None and path.startswith(GUARDED) and not self._bears(headers.get("authorization", "")):
            told = {"WWW-Authenticate": 'Bearer realm="risctl"'}
            return ProblemError(401, "no-token", "expected the header `Authorization: Bearer TOKEN`", headers=told)
        return None

    def _is_own(self, host: str) -> bool:
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if name.rstrip(".") in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._shared or address.is_loopback

    def _bears(self, authorization: str) -> bool:
        assert self._token is not None
        scheme, _, given = authorization.partition(" ")
        return secrets.compare_digest(given.strip().encode(), self._token) and scheme.lower() == "bearer"
