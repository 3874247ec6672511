"""A page on one's own machine: a photo in, its answer out; classes added by their attributes.

Starlette routes requests and checks their Host (`routes`), uvicorn speaks HTTP.  Who may ask, and how much a client can
take, is bounded here and in `connections`.  The page is meant for the loopback interface and a handful of people, not
for the internet.  The modules `routes`, `connections` and this one need the extra `serve`.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from types import TracebackType

import uvicorn

from zsl.predict.connections import HEADERS, MAX_CONNECTIONS, PATIENCE_SECONDS, BoundedProtocol
from zsl.predict.desk import Desk
from zsl.predict.routes import make_app

GRACE_SECONDS = 3  # for requests under way when the server ends


class PageServer:
    """Serves one Desk at one address; a context manager, whose end gives the port back.

    Raises:
        ValueError: the address stands for all interfaces, so that no host name could be checked; or no such port.
        OSError: the port is taken, or the address is not this machine's.
    """

    def __init__(self, desk: Desk, host: str = "127.0.0.1", port: int = 8765) -> None:
        self.desk = desk
        self.socket = _listen(host, port)
        self.address, self.port = self.socket.getsockname()[:2]
        name, address = (f"[{each}]" if ":" in each else each for each in (host.lower(), self.address))
        self.url = f"http://{name}:{self.port}/"
        self.hosts = {name, address} | ({"localhost"} if is_loopback(self.address) else set())
        self.origins = {f"http://{each}:{self.port}" for each in self.hosts}
        if self.port == 80:  # browsers leave it out
            self.origins |= {f"http://{each}" for each in self.hosts}
        self._server = uvicorn.Server(self._config())

    def __enter__(self) -> PageServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def serve_forever(self) -> None:
        """Serve until `shutdown`; in the main thread also until Ctrl-C, which then raises KeyboardInterrupt."""
        self._server.run(sockets=[self.socket])

    def shutdown(self) -> None:
        """Let `serve_forever` end; it returns soon after."""
        self._server.should_exit = True

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._server.server_state.connections)

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            make_app(self.desk, self.hosts, self.origins),
            http=BoundedProtocol,
            ws="none",
            loop="asyncio",
            interface="asgi3",
            lifespan="off",
            workers=1,
            headers=list(HEADERS.items()),
            server_header=False,
            proxy_headers=False,  # nobody stands between: a client may not say who it is
            log_config=None,
            log_level=logging.CRITICAL,  # a client's mistake is not the terminal's; our own are logged by `routes`
            access_log=False,
            backlog=MAX_CONNECTIONS,
            timeout_keep_alive=PATIENCE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens at one address.  Clients may connect from now on; they are answered once it is served."""
    if not 0 <= port <= 65535:
        raise ValueError(f"--port is {port}; a port is a number from 1 to 65535, or 0 for any free one")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port is free again at once
        listener.bind((host, port))
        if _is_every_interface(listener.getsockname()[0]):  # only the bound socket knows: 0, 0x0 and ::0 are spellings
            raise ValueError(f"--host {host!r} is every interface; name the one address that the page is to have")
        listener.listen(MAX_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_every_interface(address: str) -> bool:
    bound = ipaddress.ip_address(address)
    return (getattr(bound, "ipv4_mapped", None) or bound).is_unspecified


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
