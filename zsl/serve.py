"""A page on one's own machine: a photo in, its answer out; classes added by their attributes.

Four routes, no paths, no cookies, no templates: the standard library's server is enough, and what keeps strangers out
(host and origin checks, limits before anything is read, headers) would be ours in any framework.  It is meant for
the loopback interface and a handful of people, not for the internet.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import tempfile
import threading
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from zsl.benchmarks.own import AttributeTable, read_attributes
from zsl.photos import Limits, read_photo
from zsl.predict import PROBABILITIES, Reader
from zsl.predictor import Predictor, add_classes

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

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class Desk:
    """The state behind the page: one reader, and the classes added since the start.  All methods take turns."""

    reader: Reader
    run: str  # how the run is called on the page
    limits: Limits
    first: Predictor = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

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
            "limits": asdict(self.limits),
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
        image, notes = read_photo(data, self.limits)
        with self.lock:
            return asdict(self.reader.answers([self.reader.backbone.transform(image)], ["photo"], [notes])[0])

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
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise ValueError(f"attribute {attribute!r} is {value!r}; it should be a number")
            values[names.index(attribute)] = float(value)
        if not changes:
            raise ValueError(f"the new class has the very attributes of {base!r}; change at least one")
        self._add(AttributeTable(classes=(name,), attributes=names, strengths=np.array([values])))

    def forget(self) -> None:
        """Take out the classes that were added since the start."""
        with self.lock:
            self.reader = replace(self.reader, predictor=self.first)

    def _add(self, table: AttributeTable) -> None:
        if long := [name for name in table.classes if not 0 < len(name.strip()) <= MAX_NAME]:
            raise ValueError(f"a class name has {len(long[0])} characters; 1 to {MAX_NAME} are needed")
        if not (np.asarray(table.strengths) != 0).any(axis=1).all():
            raise ValueError("a class has no attribute but 0; nothing tells what it looks like")
        with self.lock:
            there = len(self.reader.predictor.class_names) - len(self.first.class_names)
            if there + len(table.classes) > MAX_NEW_CLASSES:
                raise ValueError(f"{there} classes were added already, {MAX_NEW_CLASSES} is the limit")
            self.reader = replace(self.reader, predictor=add_classes(self.reader.predictor, table))


class PageServer(ThreadingHTTPServer):
    """Serves one Desk at one address.

    Raises:
        ValueError: the address stands for all interfaces, so that no host name could be checked.
        OSError: the port is taken, or the address is not this machine's.
    """

    daemon_threads = True

    def __init__(self, desk: Desk, host: str = "127.0.0.1", port: int = 8765) -> None:
        if host in ("", "0.0.0.0", "::"):
            raise ValueError(f"--host {host!r} is every interface; name the one address that the page is to have")
        self.desk = desk
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_port}/"
        names = {shown} | ({"localhost"} if is_loopback(host) else set())
        self.hosts = {f"{name}:{self.server_port}" for name in names} | (names if self.server_port == 80 else set())


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
        try:
            self._check_sender()
            kind, body = answer()
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
            return kind, (resources.files("zsl") / "page" / name).read_bytes()
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
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "say how long the body is (Content-Length)")
        if int(length) > limit:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"{int(length) / 1e6:,.1f} MB were sent, the limit is {limit / 1e6:g} MB",
            )
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused(HTTPStatus.BAD_REQUEST, "the upload was cut short")
        return body

    def _fail(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True  # a body may be left unread
        self._send(status, *_json({"error": message}))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        fields = HEADERS | {"Content-Type": kind, "Content-Length": str(len(body))}
        for name, value in (fields | ({"Connection": "close"} if self.close_connection else {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not printed."""
        log.debug(format, *args)


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
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("needed is JSON with name, base and changes") from error
    if not (isinstance(name, str) and isinstance(base, str) and isinstance(changes, dict)):
        raise ValueError("name and base should be text, changes an object of attribute: number")
    return name.strip(), base, changes
