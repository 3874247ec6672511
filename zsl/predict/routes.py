"""The page's addresses as a Starlette application: who may ask, how much may come, what is answered.

Each request passes three checks before its body is read: its Host (Starlette's `TrustedHostMiddleware`), its sender
and its framing (`OwnPageOnly`), its length (`_body`).
"""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from zsl.predict.desk import MAX_TABLE_BYTES, Desk

PARTS = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PHOTO, TABLE, FORM = "application/octet-stream", "text/csv", "application/json"

log = logging.getLogger(__name__)


def make_app(desk: Desk, hosts: set[str], origins: set[str]) -> Starlette:
    """The application that serves `desk`.

    hosts: names of this server without the port, an IPv6 address in brackets; a request for another one gets 400.
    origins: scheme, name and port of this server's own page; a request from another site gets 403.
    """
    routes = Routes(desk)
    app = Starlette(
        routes=[
            *(Route(path, routes.part) for path in PARTS),
            Route("/api/run", routes.run),
            Route("/api/class", routes.strengths),
            Route("/api/predict", routes.predict, methods=["POST"]),
            Route("/api/classes", routes.add, methods=["POST"]),
            Route("/api/classes", routes.forget, methods=["DELETE"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts), www_redirect=False),
            Middleware(OwnPageOnly, origins=origins),
        ],
        exception_handlers={
            HTTPException: _refuse,
            ValueError: _explain,
            ClientDisconnect: _say_nothing,
            Exception: _log,
        },
    )
    app.router.redirect_slashes = False  # an address that is not in the list is nobody's
    return app


class Routes:
    """What each address answers.  Starlette runs a `def` in a thread, so that no answer holds up the others."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def part(self, request: Request) -> Response:
        """The page, or one of its files."""
        name, kind = PARTS[request.url.path]
        return Response((resources.files("zsl.predict") / "page" / name).read_bytes(), media_type=kind)

    def run(self, request: Request) -> Response:
        """The run, its classes and its attributes."""
        return AsciiJSON(self.desk.describe())

    def strengths(self, request: Request) -> Response:
        """The attributes of the class `name` of the query [A]."""
        return AsciiJSON(self.desk.strengths(request.query_params.get("name", "")))

    async def predict(self, request: Request) -> Response:
        """The answer for the photo in the body."""
        if (kind := _kind(request)) != PHOTO:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing here takes {kind}")
        photo = await _body(request, int(self.desk.limits.max_megabytes * 1e6))
        return await run_in_threadpool(lambda: AsciiJSON(self.desk.answer(photo)))

    async def add(self, request: Request) -> Response:
        """Add the classes of a table, or the one of a form; then the run as `run` gives it."""
        if (kind := _kind(request)) not in (TABLE, FORM):
            raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing here takes {kind}")
        body = await _body(request, MAX_TABLE_BYTES)
        return await run_in_threadpool(self._add, kind, body)

    def _add(self, kind: str, body: bytes) -> Response:
        if kind == TABLE:
            self.desk.add_table(_text(body))
        else:
            self.desk.add_like(*_form(body))
        return AsciiJSON(self.desk.describe())

    def forget(self, request: Request) -> Response:
        """Take out the added classes; then the run as `run` gives it."""
        self.desk.forget()
        return AsciiJSON(self.desk.describe())


class AsciiJSON(JSONResponse):
    """JSON in ASCII: a class name may have half a surrogate pair, which has no UTF-8 form."""

    def render(self, content: Any) -> bytes:
        """The body's bytes."""
        return json.dumps(content).encode("ascii")


# --- what is refused -------------------------------------------------------------------------------------------------


class OwnPageOnly:
    """Lets through what this server's own page sends.  A body has to come with POST and to have its length said."""

    def __init__(self, app: ASGIApp, origins: set[str]) -> None:
        self.app = app
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an unwelcome request; pass on any other one."""
        headers = Headers(scope=scope)
        refusal = self._sender_fault(headers) or _framing_fault(scope["method"], headers)
        await (refusal or self.app)(scope, receive, send)

    def _sender_fault(self, headers: Headers) -> Response | None:
        """Browsers say which site asks; another site in the same browser may not, whatever name it has."""
        origin = headers.get("origin")
        is_other = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if is_other or (origin is not None and origin.lower() not in self.origins):
            return _refusal(HTTPStatus.FORBIDDEN, "other sites may not use this page", headers)
        return None


def _framing_fault(method: str, headers: Headers) -> Response | None:
    """A body only with POST, and only with a length: what is refused for its size is refused before it is read."""
    is_chunked = "transfer-encoding" in headers
    if method != "POST" and (is_chunked or int(headers.get("content-length", "0")) > 0):
        return _refusal(HTTPStatus.BAD_REQUEST, f"a {method} has no body here; send it without one", headers)
    if is_chunked or (method == "POST" and "content-length" not in headers):
        return _refusal(HTTPStatus.LENGTH_REQUIRED, "say how long the body is (Content-Length)", headers)
    return None


async def _body(request: Request, limit: int) -> bytes:
    """The body of a POST, at most `limit` bytes; its first read is what makes uvicorn say `100 Continue`."""
    length = int(request.headers["content-length"])
    if length > limit:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{length / 1e6:,.1f} MB were sent, the limit is {limit / 1e6:g} MB",
        )
    return await request.body()


def _refusal(status: int, message: str, headers: Headers) -> Response:
    """A status and a message, as the page's script reads them.

    The connection ends where nobody could say where the next request begins: a client that asked before it sends its
    body may send it or not, and of two framings either may hold.
    """
    is_unclear = "expect" in headers or ("transfer-encoding" in headers and "content-length" in headers)
    return AsciiJSON({"error": message}, status, {"Connection": "close"} if is_unclear else None)


def _refuse(request: Request, error: Any) -> Response:
    is_routers = error.status_code == HTTPStatus.NOT_FOUND and error.detail == HTTPStatus.NOT_FOUND.phrase
    response = _refusal(error.status_code, "there is nothing here" if is_routers else error.detail, request.headers)
    response.headers.update(error.headers or {})
    return response


def _explain(request: Request, error: Exception) -> Response:
    return _refusal(HTTPStatus.BAD_REQUEST, str(error), request.headers)


def _say_nothing(request: Request, error: Exception) -> Response:
    """The client went away before its body was whole; nobody reads this."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


def _log(request: Request, error: Exception) -> Response:
    """Whatever it is, the page goes on, and a stranger learns nothing of it."""
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    message = "something went wrong; the terminal says what"
    return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, message, request.headers)


# --- what a body says ------------------------------------------------------------------------------------------------


def _kind(request: Request) -> str:
    """The body's media type without parameters."""
    return request.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()


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
