"""One connection to the page: uvicorn's HTTP/1.1, with bounds on what a client can hold on to.

uvicorn bounds how long an answered client may stay silent and how many requests run at once.  It waits without end for
a request that trickles in, for a client that never sends one, and for a client that does not read its answer.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PATIENCE_SECONDS = 30  # with a client that is silent, or does not read
REQUEST_SECONDS = 120  # until a request must have arrived, however steadily it trickles in
MAX_CONNECTIONS = 32  # at once; a browser has up to six
MAX_DRAINED_BYTES = 100_000_000  # of a body that was refused; a client that is still sending would not see the answer


class BoundedProtocol(H11Protocol):
    """Ends a connection whose client keeps the server waiting, and each one above MAX_CONNECTIONS.

    A timer runs whenever the next move is the client's: it has to send, or to read.  It stands still while an answer is
    worked out.
    """

    deadline = 0.0  # of what the client has to do next, by the loop's clock
    timer: asyncio.TimerHandle | None = None
    drained = 0  # bytes that came after the answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer, or turn the client away."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as a body that was refused does not come without end."""
        if self.cycle is not None and self.cycle.response_complete:
            self.drained += len(data)
        if self.drained > MAX_DRAINED_BYTES:
            self.transport.abort()
        else:
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        """Give the connection's next request its own time."""
        super().on_response_complete()
        self.drained = 0
        self._start_clock()

    def pause_writing(self) -> None:
        """The client has to read before the answer goes on; that has its own time, however long the answer took."""
        super().pause_writing()
        self._start_clock()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with the headers that bind every answer; uvicorn's own answer has none of them."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # no later answer follows this one
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # the bad part came after an answer
            self.transport.abort()
            return
        body = json.dumps({"error": msg}).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        head = h11.Response(
            status_code=HTTPStatus.BAD_REQUEST,
            headers=list((HEADERS | fields).items()),
            reason=HTTPStatus.BAD_REQUEST.phrase.encode(),
        )
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _start_clock(self) -> None:
        self.deadline = self.loop.time() + REQUEST_SECONDS
        self._watch()

    def _watch(self) -> None:
        """Start the timer anew where the next move is the client's."""
        self._stop()
        if self.flow.write_paused or not self._is_answering():
            end = min(self.deadline, self.loop.time() + PATIENCE_SECONDS)
            self.timer = self.loop.call_at(end, self.transport.abort)

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def _is_answering(self) -> bool:
        """Whether the latest request has arrived in full and its answer is not out yet."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete
