"""A page on one's own machine: a photo in, its answer out; classes added by their attributes.

Four routes, no paths, no cookies, no templates: the standard library's server is enough, and what keeps strangers out
(host and origin checks, limits before anything is read, headers) would be ours in any framework.  It is meant for
the loopback interface and a handful of people, not for the internet.
"""

from __future__ import annotations

import io
import ipaddress
import json
import logging
import math
import socket
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from zsl.datasets.attribute_table import AttributeTable, read_attributes
from zsl.predict.answers import PROBABILITIES
from zsl.predict.photos import Limits, read_photo
from zsl.predict.predictor import Predictor
from zsl.predict.reader import Reader, with_classes

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MAX_TABLE_BYTES = 2_000_000  # of a class's attributes, as a form or as CSV
MAX_NEW_CLASSES, MAX_NAME = 50, 100
PATIENCE_SECONDS = 30  # with a client that is silent
REQUEST_SECONDS = 120  # until a request must have arrived, however steadily it trickles in
MAX_CONNECTIONS = 32  # at once; a browser has up to six
MAX_DECODING = 2  # photos at once: a photo at the limit takes 150 MB of pixels
MAX_DRAINED_BYTES = 100_000_000  # of a body that is refused; a client that is still sending would not see the answer

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Desk:
    """The state behind the page: one reader, and the classes added since the start.

    Photos are decoded MAX_DECODING at a time; answers and changes take turns.
    """

    reader: Reader
    run: str  # how the run is called on the page
    limits: Limits
    first: Predictor = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)
    decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MAX_DECODING))

    def __post_init__(self) -> None:
        self.first = self.reader.predictor

    def describe(self) -> dict[str, Any]:
        """What the page shows of the run."""
        predictor = self.reader.predictor
        strengths = predictor.train.attributes[predictor.classes]
        facts = predictor.facts
        return {
            "run": self.run,
            "benchmark": facts["benchmark"],
            "method": facts["method"],
            "backbone": facts["backbone"]["name"],
            "seeds": list(predictor.models),
            "probabilities": PROBABILITIES,
            "adding_took": self.reader.adding_took,
            "limits": asdict(self.limits) | {"table_megabytes": MAX_TABLE_BYTES / 1e6},
            "classes": [
                {"name": name, "kind": kind} for name, kind in zip(predictor.class_names, predictor.kinds, strict=True)
            ],
            "attributes": [
                {"name": name, "low": low, "high": high}
                for name, low, high in zip(
                    predictor.attribute_names, strengths.amin(0).tolist(), strengths.amax(0).tolist(), strict=True
                )
            ],
        }

    def strengths(self, name: str) -> list[float]:
        """The attributes of a class [A].

        Raises:
            ValueError: there is no such class.
        """
        predictor = self.reader.predictor
        if name not in predictor.class_names:
            raise ValueError(f"no class {name!r}")
        label = predictor.classes[predictor.class_names.index(name)]
        values: list[float] = predictor.train.attributes[label].tolist()
        return values

    def answer(self, data: bytes) -> dict[str, Any]:
        """The answer for a photo's bytes.

        Raises:
            ValueError: as `read_photo`.
        """
        with self.decoding:
            image, notes = read_photo(data, self.limits)
            image = self.reader.backbone.transform(image)
        with self.lock:
            return asdict(self.reader.answers([image], ["photo"], [notes])[0])

    def add_table(self, text: str) -> None:
        """Add the classes of a CSV.

        Raises:
            ValueError: as `read_attributes` and `add_classes`.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            path.write_text(text, encoding="utf-8")
            try:
                table = read_attributes(path, at_least=1)
            except ValueError as error:
                raise ValueError(str(error).replace(str(path), "the table")) from error
        self._add(table)

    def add_like(self, name: str, base: str, changes: dict[str, float]) -> None:
        """Add a class with the attributes of `base`, some of them changed.

        Raises:
            ValueError: there is no such class or attribute, a value is no number, or as `add_classes`.
        """
        names = self.reader.predictor.attribute_names
        values = self.strengths(base)
        for attribute, value in changes.items():
            if attribute not in names:
                raise ValueError(f"no attribute {attribute!r}")
            values[names.index(attribute)] = _number(value, attribute)
        if not changes:
            raise ValueError(f"the new class has the very attributes of {base!r}; change at least one")
        self._add(AttributeTable(classes=(name,), attributes=names, strengths=np.array([values])))

    def forget(self) -> None:
        """Take out the classes that were added since the start."""
        with self.lock:
            self.reader = replace(self.reader, predictor=self.first, adding_took=None)

    def _add(self, table: AttributeTable) -> None:
        if long := [name for name in table.classes if not 0 < len(name.strip()) <= MAX_NAME]:
            raise ValueError(f"a class name has {len(long[0])} characters; 1 to {MAX_NAME} are needed")
        if not (np.asarray(table.strengths) != 0).any(axis=1).all():
            raise ValueError("a class has no attribute but 0; nothing tells what it looks like")
        with self.lock:
            there = len(self.reader.predictor.class_names) - len(self.first.class_names)
            if there + len(table.classes) > MAX_NEW_CLASSES:
                raise ValueError(f"{there} classes were added already, {MAX_NEW_CLASSES} is the limit")
            self.reader = with_classes(self.reader, table)


def _number(value: Any, attribute: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -sys.float_info.max <= value <= sys.float_info.max:
        shown = str(value)[:20] if isinstance(value, float | str) else type(value).__name__
        raise ValueError(f"attribute {attribute!r} is {shown!r}; it should be a number")
    return float(value)


class PageServer(ThreadingHTTPServer):
    """Serves one Desk at one address.

    Raises:
        ValueError: the address stands for all interfaces, so that no host name could be checked.
        OSError: the port is taken, or the address is not this machine's.
    """

    daemon_threads = True

    def __init__(self, desk: Desk, host: str = "127.0.0.1", port: int = 8765) -> None:
        self.desk = desk
        self.slots = threading.Semaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler, bind_and_activate=False)
        try:
            self.server_bind()
            self.address = str(self.server_address[0])
            if _is_every_interface(self.address):  # only the bound socket knows: 0, 0x0 and ::0 are spellings of it
                raise ValueError(f"--host {host!r} is every interface; name the one address that the page is to have")
            self.server_activate()
        except BaseException:
            self.server_close()
            raise
        named, bound = (f"[{each}]" if ":" in each else each for each in (host.lower(), self.address))
        self.url = f"http://{named}:{self.server_port}/"
        names = {named, bound} | ({"localhost"} if is_loopback(self.address) else set())
        self.hosts = {f"{name}:{self.server_port}" for name in names} | (names if self.server_port == 80 else set())

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, as long as there are not too many."""
        if self.slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The connection's whole life."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _is_every_interface(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_unspecified


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Refused(Exception):
    """A request that is answered with a status and a message."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    """One request.  Who asks is checked first, then how much they bring; only then is anything read."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "zsl", ""
    timeout = PATIENCE_SECONDS
    deadline = math.inf  # by time.monotonic(), for the whole request
    unread = 0  # bytes of the body that are still to come

    def setup(self) -> None:
        """Read through the deadline."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_UntilDeadline(self))

    def handle_one_request(self) -> None:
        """Give each request of a connection its own time."""
        self.deadline = time.monotonic() + REQUEST_SECONDS
        self.unread = 0
        super().handle_one_request()

    def handle_expect_100(self) -> bool:
        """Whether the body may come is said when who asks and how much they bring was checked."""
        return True

    def do_GET(self) -> None:
        """The page and its parts, the run, a class."""
        self._respond(self._get)

    def do_POST(self) -> None:
        """A photo, or new classes."""
        self._respond(self._post)

    def do_DELETE(self) -> None:
        """Forget the new classes."""
        self._respond(self._delete)

    def _respond(self, answer: Any) -> None:
        length = self.headers.get("Content-Length", "")
        self.unread = int(length) if _is_length(length) else 0
        try:
            self._check_sender()
            kind, body = answer()
            self.close_connection |= bool(self.unread)  # a body that nobody asked for is not the next request
            self._send(HTTPStatus.OK, kind, body)
        except Refused as refusal:
            self._fail(refusal.status, str(refusal))
        except ValueError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:  # whatever it is, the page goes on, and a stranger learns nothing of it
            log.exception("%s %s", self.command, self.path)
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong; the terminal says what")

    def _check_sender(self) -> None:
        """Only this server's own page may ask: not another site in the same browser, under whatever name."""
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, f"this page is at {self.server.url}")
        origin = self.headers.get("Origin")
        other = self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if other or (origin is not None and origin.lower() not in {f"http://{host}" for host in self.server.hosts}):
            raise Refused(HTTPStatus.FORBIDDEN, "other sites may not use this page")

    def _get(self) -> tuple[str, bytes]:
        url = urlsplit(self.path)
        if url.path in PAGE:
            name, kind = PAGE[url.path]
            return kind, (resources.files("zsl.predict") / "page" / name).read_bytes()
        if url.path == "/api/run":
            return _json(self.server.desk.describe())
        if url.path == "/api/class":
            return _json(self.server.desk.strengths(parse_qs(url.query).get("name", [""])[0]))
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _post(self) -> tuple[str, bytes]:
        desk, kind = self.server.desk, self.headers.get_content_type()
        if self.path == "/api/predict" and kind == "application/octet-stream":
            return _json(desk.answer(self._body(int(desk.limits.max_megabytes * 1e6))))
        if self.path == "/api/classes" and kind == "text/csv":
            desk.add_table(_text(self._body(MAX_TABLE_BYTES)))
        elif self.path == "/api/classes" and kind == "application/json":
            desk.add_like(*_form(self._body(MAX_TABLE_BYTES)))
        else:
            raise Refused(HTTPStatus.NOT_FOUND, f"nothing here takes {kind}")
        return _json(desk.describe())

    def _delete(self) -> tuple[str, bytes]:
        if self.path != "/api/classes":
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
        self.server.desk.forget()
        return _json(self.server.desk.describe())

    def _body(self, limit: int) -> bytes:
        if not _is_length(self.headers.get("Content-Length", "")):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "say how long the body is (Content-Length)")
        length = self.unread
        if length > limit:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{length / 1e6:,.1f} MB were sent, the limit is {limit / 1e6:g} MB",
            )
        if self._asks_first():
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(length)
        self.unread -= len(body)
        if self.unread:
            raise Refused(HTTPStatus.BAD_REQUEST, "the upload was cut short")
        return body

    def _asks_first(self) -> bool:
        return self.headers.get("Expect", "").lower() == "100-continue"

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True  # a body may be left unread
        try:
            self._send(status, *_json({"error": message}))
            self._drain()
        except (ConnectionError, TimeoutError):
            log.debug("the client went away before its %s", status)

    def _drain(self) -> None:
        """Read what of the body is still on its way: closing before would reset the connection, the answer with it."""
        left = 0 if self._asks_first() else min(self.unread, MAX_DRAINED_BYTES)
        while left > 0 and (part := self.rfile.read1(min(left, 1 << 16))):
            left -= len(part)

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.connection.settimeout(PATIENCE_SECONDS)
        self.send_response(status)
        fields = {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in (fields | ({"Connection": "close"} if self.close_connection else {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def end_headers(self) -> None:
        """Every answer has the headers that bind the page, the library's own errors too."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not printed."""
        log.debug(format, *args)


class _UntilDeadline(io.RawIOBase):
    """What a handler's client sends, until the handler's deadline; a socket's timeout begins anew with each byte."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.handler.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self.handler.connection.settimeout(min(left, PATIENCE_SECONDS))
        return self.handler.connection.recv_into(buffer)


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) < 16


def _json(content: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(content).encode()


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the table is not UTF-8 text; save it as CSV") from error


def _form(body: bytes) -> tuple[str, str, dict[str, float]]:
    """Name, base class and changes of the page's form."""
    try:
        form = json.loads(body)
        name, base, changes = form["name"], form["base"], form["changes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("needed is JSON with name, base and changes") from error
    if not (isinstance(name, str) and isinstance(base, str) and isinstance(changes, dict)):
        raise ValueError("name and base should be text, changes an object of attribute: number")
    return name.strip(), base, changes
