"""The page: its answers, who may ask, what is refused before it is read, and how it behaves in a real browser."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bad_photos import BAD, JPEG
from command_line import SCRIPTS
from looks import TEXT_CONTRASTS

from zsl.predict import connections, desk
from zsl.predict.desk import MAX_DECODING, MAX_TABLE_BYTES, Desk
from zsl.predict.photos import Limits, read_photo
from zsl.predict.reader import Reader
from zsl.predict.serve import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHOTO, TABLE, FORM = "application/octet-stream", "text/csv", "application/json"


@pytest.fixture
def server(tiny_reader: Reader) -> Iterator[PageServer]:
    with serving(PageServer(Desk(reader=tiny_reader, run="tiny", limits=Limits()), port=0)) as page_server:
        yield page_server


@contextmanager
def serving(page_server: PageServer) -> Iterator[PageServer]:
    with page_server:
        thread = threading.Thread(target=page_server.serve_forever, daemon=True)
        thread.start()
        yield page_server
        page_server.shutdown()
        thread.join()


def ask(
    server: PageServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[HTTPResponse, Any]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    is_json = response.headers.get_content_type() == "application/json"
    return response, json.loads(content) if is_json else content.decode()


def table(reader: Reader, name: str, **changes: float) -> bytes:
    stream = io.StringIO()
    names = reader.predictor.attribute_names
    csv.writer(stream).writerows([["class", *names], [name, *(0.3 + 0.01 * k for k in range(len(names)))]])
    return stream.getvalue().encode()


# --- answers ---------------------------------------------------------------------------------------------------------


def test_a_photo_gets_the_readers_answer(server: PageServer, tiny_reader: Reader) -> None:
    response, answer = ask(server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO})
    assert response.status == 200
    image, notes = read_photo(JPEG)
    (expected,) = tiny_reader.answers([tiny_reader.inputs(image)], ["photo"], [notes])
    assert answer == json.loads(json.dumps(dataclasses.asdict(expected)))


@pytest.mark.parametrize("name", [name for name in BAD if name != "heavy.png"])
def test_a_bad_photo_gets_its_message(server: PageServer, name: str) -> None:
    data, words = BAD[name]
    response, content = ask(server, "POST", "/api/predict", data, {"Content-Type": PHOTO})
    assert response.status == 400
    assert words in content["error"]


def test_classes_are_added_by_form_and_table_and_forgotten(
    server: PageServer, tiny_reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _, run = ask(server, "GET", "/api/run")
    base, attribute = run["classes"][0]["name"], run["attributes"][0]
    before = ask(server, "GET", f"/api/class?name={base.replace(' ', '%20')}")[1]
    form = {"name": "tinted", "base": base, "changes": {attribute["name"]: 0.7}}
    response, after = ask(server, "POST", "/api/classes", json.dumps(form).encode(), {"Content-Type": FORM})
    assert response.status == 200, after
    assert after["classes"] == [*run["classes"], {"name": "tinted", "shown": "tinted", "kind": "new"}]
    values = ask(server, "GET", "/api/class?name=tinted")[1]
    scale = sum((0.7 if k == 0 else v) ** 2 for k, v in enumerate(before)) ** 0.5  # the run's attributes have length 1
    assert values == pytest.approx([(0.7 if k == 0 else v) / scale for k, v in enumerate(before)], abs=1e-6)
    response, after = ask(server, "POST", "/api/classes", table(tiny_reader, "listed"), {"Content-Type": TABLE})
    assert [each["name"] for each in after["classes"] if each["kind"] == "new"] == ["tinted", "listed"]
    assert ask(server, "DELETE", "/api/classes")[1]["classes"] == run["classes"]
    assert list(tmp_path.iterdir()) == []  # what lay in the temporary folder is gone


def test_forms_and_tables_that_make_no_sense_are_refused_in_words(server: PageServer, tiny_reader: Reader) -> None:
    _, run = ask(server, "GET", "/api/run")
    base, attribute = run["classes"][0]["name"], run["attributes"][0]["name"]
    cases: list[tuple[str, Any, str]] = [
        (FORM, {"name": "x", "base": "nobody", "changes": {attribute: 1}}, "no class 'nobody'"),
        (FORM, {"name": "x", "base": base, "changes": {"gills": 1}}, "no attribute 'gills'"),
        (FORM, {"name": "x", "base": base, "changes": {attribute: "much"}}, "should be a number"),
        (FORM, {"name": "x", "base": base, "changes": {attribute: float("nan")}}, "should be a number"),
        (FORM, {"name": "x", "base": base, "changes": {}}, "change at least one"),
        (FORM, {"name": base, "base": base, "changes": {attribute: 1}}, "is there already"),
        (FORM, {"name": " ", "base": base, "changes": {attribute: 1}}, "class name"),
        (FORM, {"name": "x" * 101, "base": base, "changes": {attribute: 1}}, "class name"),
        (FORM, {"name": "x", "base": base, "changes": {attribute: 10**400}}, "should be a number"),
        (FORM, {"name": "x", "base": base, "changes": {attribute: True}}, "should be a number"),
        (FORM, ["x"], "needed is JSON"),
        (FORM, b"[" * 100_000, "needed is JSON"),
        (TABLE, b'class,a\nx,"' + b"1" * 200_000, "no table of commas and lines"),
        (TABLE, b"class,gills\nfish,1\n", "no column"),
        (TABLE, b"class\n", "the table has 1 lines"),
        (TABLE, table(tiny_reader, "x").replace(b"0.3,", b"much,", 1), "is 'much'"),
        (TABLE, b"\xff\xfe\x00", "not UTF-8"),
    ]
    for kind, body, words in cases:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        response, content = ask(server, "POST", "/api/classes", sent, {"Content-Type": kind})
        assert (response.status, words in content["error"]) == (400, True), (body, content)
        assert tempfile.gettempdir() not in content["error"]
    assert ask(server, "GET", "/api/run")[1]["classes"] == run["classes"]


def test_strengths_of_any_size_that_a_number_has_are_taken_or_refused_in_words(
    server: PageServer, tiny_reader: Reader
) -> None:
    _, run = ask(server, "GET", "/api/run")
    base, attribute = run["classes"][0]["name"], run["attributes"][0]["name"]
    facts = tiny_reader.predictor.facts
    for value, has_length_1, status in ((1e200, True, 200), (1e200, False, 400), (1e-200, False, 200)):
        changed = dataclasses.replace(facts, unit_attributes=has_length_1)
        predictor = dataclasses.replace(tiny_reader.predictor, facts=changed)
        server.desk.reader = dataclasses.replace(tiny_reader, predictor=predictor)
        form = json.dumps({"name": "x", "base": base, "changes": {attribute: value}}).encode()
        response, content = ask(server, "POST", "/api/classes", form, {"Content-Type": FORM})
        assert response.status == status, content
        assert status == 200 or "in other units" in content["error"]
        _, answer = ask(server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO})
        assert sum(choice["probability"] for choice in answer["classes"]) > 0.1  # no NaN came of it


WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
written: list[str] | None = None  # what this process opened for writing or made, while a test listens


def _listen(event: str, given: tuple[Any, ...]) -> None:
    if written is None:
        return
    opened = event == "open" and (given[2] & WRITES or any(c in str(given[1]) for c in "wax+"))
    if opened or event in ("os.mkdir", "os.rename", "os.link", "os.symlink"):
        written.append(str(given[0]))


def test_nothing_is_written_outside_a_temporary_folder(
    server: PageServer, tiny_reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    global written
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def use() -> None:
        ask(server, "GET", "/")
        assert ask(server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO})[0].status == 200
        assert ask(server, "POST", "/api/predict", BAD["cut.jpg"][0], {"Content-Type": PHOTO})[0].status == 400
        assert ask(server, "POST", "/api/classes", table(tiny_reader, "x"), {"Content-Type": TABLE})[0].status == 200
        assert ask(server, "DELETE", "/api/classes")[0].status == 200

    use()  # modules are loaded, and perhaps compiled, the first time
    sys.addaudithook(_listen)  # for good: Python has no way to take one out
    written = []
    try:
        (tmp_path / "by hand").write_text("the hook does notice")
        use()
        found = [path for path in written if not path.isdecimal()]  # numbers are open sockets
    finally:
        written = None
    assert str(tmp_path / "by hand") in found
    assert any("table.csv" in path for path in found)
    assert all(Path(path).is_relative_to(tmp_path) for path in found), found


# --- strangers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),  # a name that was made to point to this machine
        ({"Host": "evil.example:127.0.0.1"}, 400),
        ({"Host": "localhost.evil.example"}, 400),
        ({"Host": ""}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),  # the Host's port is not checked, for a page cannot choose it
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),  # another port of this machine
    ],
)
def test_other_sites_may_not_use_it(server: PageServer, headers: dict[str, str], status: int) -> None:
    for method, path, body in (("GET", "/", None), ("POST", "/api/predict", JPEG), ("DELETE", "/api/classes", None)):
        response, content = ask(server, method, path, body, {"Content-Type": PHOTO} | headers)
        assert response.status == status
        assert "classes" not in content
        assert not any(name.lower().startswith("access-control") for name in response.headers)


def test_a_form_of_another_site_cannot_send_a_photo_without_asking_first(server: PageServer) -> None:
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded"):  # sent without a preflight
        assert ask(server, "POST", "/api/predict", JPEG, {"Content-Type": kind})[0].status == 404
    response, _ = ask(server, "OPTIONS", "/api/predict")
    assert response.status == 405  # Starlette knows the method, and that this address has another one
    assert not any(name.lower().startswith("access-control") for name in response.headers)


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page/page.js", "/..%5c..", "/api/../predictor.py", "//etc"],
)
def test_nothing_but_the_pages_own_parts_can_be_fetched(server: PageServer, path: str) -> None:
    assert ask(server, "GET", path)[0].status == 404


def test_every_part_comes_with_the_headers_that_bind_it(server: PageServer) -> None:
    for path, kind in (("/", "text/html"), ("/style.css", "text/css"), ("/page.js", "text/javascript"), ("/no", FORM)):
        response, content = ask(server, "GET", path)
        assert response.headers.get_content_type() == kind
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert "//" not in response.headers["Content-Security-Policy"]  # no other host
        if path != "/no":
            assert "://" not in content.replace("http://www.w3.org", "")  # nothing from a network


def test_too_much_is_refused_before_it_is_read(server: PageServer) -> None:
    for path, kind, limit in (("/api/predict", PHOTO, 20_000_000), ("/api/classes", TABLE, MAX_TABLE_BYTES)):
        headers = {"Content-Type": kind, "Content-Length": str(limit + 1)}
        response, content = ask(server, "POST", path, b"only this much is sent", headers)
        assert response.status == 413
        assert "the limit is" in content["error"]
    headers = {"Content-Type": PHOTO, "Transfer-Encoding": "chunked"}
    assert ask(server, "POST", "/api/predict", b"0\r\n\r\n", headers)[0].status == 411
    for length in ("-1", "1e3", "9" * 5000):  # h11 takes none of these for a request
        headers = {"Content-Type": PHOTO, "Content-Length": length}
        assert ask(server, "POST", "/api/predict", None, headers)[0].status == 400
    assert talk(server, request(server, "POST /api/predict", f"Content-Type: {PHOTO}")).startswith(b"HTTP/1.1 411 ")


def request(server: PageServer, line: str, *fields: str, body: bytes = b"") -> bytes:
    """A request as it goes over the wire: `http.client` would mend some of what is wrong here."""
    head = "\r\n".join([f"{line} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *fields])
    return head.encode() + b"\r\n\r\n" + body


def talk(server: PageServer, sent: bytes) -> bytes:
    """What comes back until the connection ends, or until an answer's JSON is there."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(sent)
        answer = b""
        while not answer.endswith(b"}") and (part := client.recv(1 << 16)):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("line", "fields", "body", "words"),
    [
        ("GET /", ["Host: evil.example"], b"", b"Invalid HTTP request"),
        ("GET /", ["host: 127.0.0.1"], b"", b"Invalid HTTP request"),
        ("GET /", ["Transfer-Encoding: chunked"], b"0\r\n\r\n", b"a GET has no body here"),
        ("GET /api/run", ["Content-Length: 3"], b"abc", b"a GET has no body here"),
        ("DELETE /api/classes", ["Content-Length: 3"], b"abc", b"a DELETE has no body here"),
        ("POST /api/predict", ["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\n", b"Content-Length"),
        ("POST /api/predict", ["Content-Length: 5", "Content-Length: 6"], b"abcdef", b"Invalid HTTP request"),
        ("POST /api/predict", ["Transfer-Encoding: gzip"], b"", b"Invalid HTTP request"),
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_refused(
    server: PageServer, line: str, fields: list[str], body: bytes, words: bytes
) -> None:
    answer = talk(server, request(server, line, *fields, body=body))
    assert re.match(rb"HTTP/1\.1 4(00|11) ", answer), answer
    assert words in answer
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in _spelled(answer)


def _spelled(answer: bytes) -> bytes:
    """Header names as we write them; uvicorn sends them in small letters, which means the same."""
    return re.sub(rb"(?m)^[a-z-]+(?=:)", lambda name: name[0].title(), answer)


def test_a_length_of_0_is_no_body(server: PageServer) -> None:
    assert ask(server, "GET", "/api/run", None, {"Content-Length": "0"})[0].status == 200


def test_what_comes_after_a_refusal_cannot_trouble_the_server(
    server: PageServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_DRAINED_BYTES", 1_000_000)
    head = request(server, "POST /api/predict", "Transfer-Encoding: chunked")
    for rest in (b"no chunk\r\n", b"f4240\r\n" + bytes(1_000_000) + b"\r\n"):  # 0xf4240 is 1,000,000
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(head)
            assert client.recv(100).startswith(b"HTTP/1.1 411 ")
            with suppress(ConnectionError):
                for _ in range(1000):
                    client.sendall(rest)
            wait_until(lambda: not server.connections)
    assert b"Invalid HTTP request" in talk(server, head + b"no chunk\r\n")  # both at once
    assert ask(server, "GET", "/")[0].status == 200
    assert caplog.records == []


def test_an_error_of_ours_is_logged_and_not_shown(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr(desk, "read_photo", broken)
    response, content = ask(server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO})
    assert (response.status, content) == (500, {"error": "something went wrong; the terminal says what"})
    assert [record.getMessage() for record in caplog.records] == ["POST /api/predict"]
    assert "a secret" in caplog.text
    assert ask(server, "GET", "/")[0].status == 200


def test_a_name_that_is_no_text_does_not_spoil_the_page(server: PageServer) -> None:
    _, run = ask(server, "GET", "/api/run")
    form = {"name": "\ud800", "base": run["classes"][0]["name"], "changes": {run["attributes"][0]["name"]: 0.7}}
    assert ask(server, "POST", "/api/classes", json.dumps(form).encode(), {"Content-Type": FORM})[0].status == 200
    assert ask(server, "GET", "/api/run")[1]["classes"][-1]["name"] == "\ud800"


def test_a_photo_that_is_really_too_large_gets_its_answer(
    server: PageServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its sender is not done when the server refuses it; closing at once would reset the connection."""
    for path, kind in (("/api/predict", PHOTO), ("/api/classes", TABLE)):
        response, content = ask(server, "POST", path, bytes(25_000_000), {"Content-Type": kind})
        assert response.status == 413
        assert "25.0 MB were sent, the limit is" in content["error"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("length", "first"), [(len(JPEG), b"HTTP/1.1 100 "), (30_000_000, b"HTTP/1.1 413 ")])
def test_a_body_is_asked_for_only_where_it_is_not_too_large(server: PageServer, length: int, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        head = f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: {PHOTO}\r\n"
        client.sendall(f"{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert client.recv(100).startswith(first)


def test_the_librarys_own_errors_have_the_headers_that_bind_too(server: PageServer) -> None:
    for sent in (
        b"OPTIONS / HTTP/1.1\r\n\r\n",
        b"BREW /tea HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b" * 70_000,
        request(server, "OPTIONS /", "Connection: close"),
        request(server, "BREW /tea", "Connection: close"),
        request(server, "GET /", "Connection: close").replace(b"127.0.0.1", b"evil.example"),
    ):
        answer = _spelled(talk(server, sent))
        assert b" 4" in answer[:13] or b" 5" in answer[:13]
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
        assert b"\r\nContent-Security-Policy: default-src 'none'" in answer


def trickle(server: PageServer, sent: bytes, seconds: float) -> float:
    """How long the server bears a byte each twentieth of a second, at most `seconds`."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.05) as client:
        client.sendall(sent)
        while time.monotonic() - start < seconds:
            with suppress(TimeoutError):
                if client.recv(1) == b"":
                    break
            try:
                client.sendall(b"x")
            except ConnectionError:
                break
    return time.monotonic() - start


@pytest.mark.parametrize("fields", [["Content-Length: 5000"], []])
def test_a_request_that_trickles_in_is_given_up(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, fields: list[str]
) -> None:
    """A byte each twentieth of a second never lets the patience with a silent client pass."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 1)
    sent = request(server, "POST /api/predict", f"Content-Type: {PHOTO}", *fields)
    assert 1 <= trickle(server, sent if fields else sent[:-4], 60) < connections.PATIENCE_SECONDS


def test_a_client_is_left_only_while_it_is_silent(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.5)
    head = request(server, "POST /api/predict", f"Content-Type: {PHOTO}", "Content-Length: 5000")
    assert trickle(server, head, 1.5) >= 1.5
    for sent in (b"", b"GET ", head, request(server, "GET /style.css")):
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(sent)
            while client.recv(1 << 16):
                pass
        assert 0.5 <= time.monotonic() - start < 30


def test_a_client_that_does_not_read_is_left(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.5)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.settimeout(60)
        with suppress(ConnectionError):
            client.sendall(request(server, "GET /page.js") * 5000)  # 50 MB of answers
        wait_until(lambda: not server.connections)


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_answer_may_take_longer_than_a_clients_silence(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    describe = server.desk.describe

    def slow() -> dict[str, Any]:
        time.sleep(1)
        return describe()

    monkeypatch.setattr(server.desk, "describe", slow)
    assert ask(server, "GET", "/api/run")[0].status == 200


def test_a_client_that_goes_away_is_no_error(
    server: PageServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    head = request(server, "POST /api/predict", f"Content-Type: {PHOTO}", f"Content-Length: {len(JPEG)}")
    for sent in (b"", b"GET / HT", head, head + JPEG[:50], head + JPEG):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.sendall(sent)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # by a reset
    wait_until(lambda: not server.connections)
    assert ask(server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO})[0].status == 200
    assert (capfd.readouterr().err, caplog.records) == ("", [])


def test_more_connections_than_a_handful_of_people_have_are_closed(
    server: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    keeps = HTTPConnection("127.0.0.1", server.port, timeout=60)
    keeps.request("GET", "/")
    keeps.getresponse().read()
    with pytest.raises(ConnectionError):
        ask(server, "GET", "/")
    keeps.close()
    wait_until(lambda: not server.connections)  # its end frees the place
    assert ask(server, "GET", "/")[0].status == 200


def test_only_some_photos_are_decoded_at_once(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    left = []

    def counted(*given: Any) -> Any:
        free = 0
        while server.desk.decoding.acquire(blocking=False):
            free += 1
        left.append(free)
        for _ in range(free):
            server.desk.decoding.release()
        return read_photo(*given)

    monkeypatch.setattr(desk, "read_photo", counted)
    assert ask(server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO})[0].status == 200
    assert left == [MAX_DECODING - 1]
    with ThreadPoolExecutor(4) as pool:
        many = [pool.submit(ask, server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO}) for _ in range(8)]
        assert {each.result()[0].status for each in many} == {200}
    assert max(left) < MAX_DECODING


def test_it_listens_to_this_machine_only_unless_told_and_never_to_every_interface(
    server: PageServer, tiny_reader: Reader
) -> None:
    assert server.socket.getsockname() == (server.address, server.port) == ("127.0.0.1", server.port)
    for host in ("0.0.0.0", "", "0", "0x0", "::", "::0", "::ffff:0.0.0.0"):
        try:
            with pytest.raises(ValueError, match="every interface"):
                PageServer(server.desk, host, 0)
        except OSError:
            assert ":" in host  # a machine without IPv6


def test_a_host_may_be_written_in_any_case_and_form(server: PageServer) -> None:
    with serving(PageServer(server.desk, "LocalHost", 0)) as other:
        assert other.hosts == {"localhost", "127.0.0.1"}
        assert other.url == f"http://localhost:{other.port}/"
        for name in ("localhost", f"LOCALHOST:{other.port}", f"127.0.0.1:{other.port}"):
            for origin in ("localhost", "127.0.0.1"):
                headers = {"Host": name, "Origin": f"http://{origin}:{other.port}"}
                assert ask(other, "GET", "/api/run", None, headers)[0].status == 200


def test_an_address_of_version_6_is_in_brackets(server: PageServer) -> None:
    try:
        page_server = PageServer(server.desk, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    with serving(page_server) as other:
        assert other.url == f"http://[::1]:{other.port}/"
        for host, status in ((f"[::1]:{other.port}", b"200"), ("[::1]", b"200"), ("[::2]", b"400"), ("::1", b"400")):
            with socket.create_connection(("::1", other.port), timeout=60) as client:
                client.sendall(f"GET /icon.svg HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                assert client.recv(100).split()[1] == status


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_refused_in_words(server: PageServer, port: int) -> None:
    with pytest.raises(ValueError, match=f"--port is {port}; a port is a number from 1 to 65535"):
        PageServer(server.desk, port=port)


def test_a_port_is_free_again_when_the_page_ends(server: PageServer) -> None:
    with pytest.raises(OSError, match="in use"):
        PageServer(server.desk, port=server.port)
    with serving(PageServer(server.desk, port=0)) as other:
        assert ask(other, "GET", "/")[0].status == 200
    with serving(PageServer(server.desk, port=other.port)) as again:
        assert ask(again, "GET", "/")[0].status == 200


def test_the_script_says_where_the_page_is_and_ends_at_ctrl_c(tiny_run: Path, tiny_weights: Path) -> None:
    words: list[str | Path] = ["--run", tiny_run, "--weights", tiny_weights, "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, SCRIPTS / "serve.py", *words],
        env=os.environ | {"ACCELERATE_USE_CPU": "1", "PYTHONPATH": str(SCRIPTS.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores Ctrl-C
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.match(r"http://127\.0\.0\.1:(\d+)/  \(Ctrl-C ends it\)", line)
        assert address, line + process.communicate()[1]
        connection = HTTPConnection("127.0.0.1", int(address[1]), timeout=60)
        connection.request("GET", "/api/run")
        assert json.loads(connection.getresponse().read())["run"] == tiny_run.name
        head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {PHOTO}\r\nContent-Length: 9\r\n\r\nx"
        with socket.create_connection(("127.0.0.1", int(address[1])), timeout=60) as uploads:
            uploads.sendall(head.encode())  # and never the rest; the other connection is kept alive
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=30)[1]
        connection.close()
    finally:
        process.kill()
    assert process.returncode == 0
    assert said == ""


def test_the_script_asks_for_the_extra_and_its_help_does_without() -> None:
    script = f"""
import runpy, sys
sys.modules["starlette"] = sys.modules["uvicorn"] = None
sys.path.insert(0, {str(SCRIPTS.parent)!r})
for sys.argv in (["serve.py", "--help"], ["serve.py", "--run", "nowhere"]):
    try:
        runpy.run_path({str(SCRIPTS / "serve.py")!r}, run_name="__main__")
    except SystemExit as end:
        print("ended with", end)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert "ended with 0\n" in done.stdout
    assert re.search(r"ended with error: .*(uvicorn|starlette).*: pip install 'zsl-dcrgan\[serve\]'", done.stdout)


# --- a real browser --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_can_be_read(
    server: PageServer, browser: Browser, tmp_path: Path, width: int, scheme: Any
) -> None:
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(server.url)
    page.set_input_files("#file", tmp_path / "photo.jpg")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for tag in page.locator("#bars .kind").all():
        assert (tag.bounding_box() or {"width": 0})["width"] > 20  # seen, unseen or new can be read
    assert page.locator("#votes th small").first.evaluate("each => getComputedStyle(each).display") == "block"
    contrasts = page.evaluate(TEXT_CONTRASTS)
    assert len(contrasts) > 30
    assert [text for contrast, text in contrasts if contrast < 4.5] == []
    edges = "['#drop', '#name', 'textarea'].map(id => getComputedStyle(document.querySelector(id)).borderTopColor)"
    grounds = "getComputedStyle(document.querySelector('section')).backgroundColor"
    for edge in page.evaluate(edges):
        assert contrast_of(edge, page.evaluate(grounds)) >= 3
    page.close()


def contrast_of(one: str, other: str) -> float:
    """WCAG's contrast of two colours `rgb(r, g, b)`."""

    def light(colour: str) -> float:
        shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return float(sum(weight * s for weight, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_an_attribute_is_taken_when_it_is_chosen_and_a_base_that_is_forgotten_is_left(
    server: PageServer, browser: Browser
) -> None:
    said: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("#base option", state="attached")
    page.wait_for_load_state("networkidle")
    attribute = page.locator("#attributes option").first.get_attribute("value") or ""
    page.locator("#attribute").press_sequentially(attribute)
    assert page.locator("#changes input").count() == 0  # it may go on: another name may begin so
    page.locator("#attribute").press("Enter")
    assert page.locator("#changes input").count() == 1
    page.locator("#changes input").evaluate("box => { box.value = Number(box.value) + 0.37; }")  # unlike the base
    page.fill("#name", "tinted")
    page.click("#like button:not(.small)")
    page.wait_for_selector("#new-classes li")
    assert re.fullmatch(r"Added in \d+\.\d s\.", page.locator("#add-status").inner_text())
    page.select_option("#base", "tinted")
    page.click("#forget")
    page.get_by_text("Forgotten.").wait_for()
    first = page.locator("#base option").first.get_attribute("value")
    assert page.locator("#base").input_value() == first
    page.wait_for_load_state("networkidle")
    page.locator("#attribute").fill(attribute)
    page.locator("#attribute").press("Enter")
    assert page.locator("#changes input").count() == 1  # its strengths are known
    assert said == []
    page.close()


def test_a_photo_that_comes_before_the_run_is_known_is_answered_when_it_is(
    server: PageServer, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    said: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    held: list[Any] = []
    page.route("**/api/run", lambda route: held.append(route))
    with page.expect_request("**/api/run"):
        page.goto(server.url)
    page.set_input_files("#file", tmp_path / "photo.jpg")
    assert page.locator("#answer").is_hidden()
    held[0].continue_()
    page.wait_for_selector("#answer:not([hidden])")
    assert said == []
    page.close()


def test_the_page_answers_a_photo_and_takes_a_class_in_a_browser(
    server: PageServer, browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    (tmp_path / "text.jpg").write_bytes(BAD["text.jpg"][0])
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url)
    page.wait_for_selector("#base option", state="attached")
    page.set_input_files("#file", tmp_path / "photo.jpg")
    page.wait_for_selector("#answer:not([hidden])")
    assert page.locator("#bars li").count() == 5
    assert page.locator("#votes tr").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") == 390  # nothing hangs over a phone's edge
    page.fill("#name", "<b>odd</b> one")
    page.fill("#attribute", page.locator("#attributes option").first.get_attribute("value") or "")
    page.press("#attribute", "Enter")
    page.locator("#changes input").first.evaluate("each => { each.value = each.max; }")
    page.click("#like button:not(.small)")
    page.wait_for_selector("#new-classes li, #add-status.error")
    assert page.locator("#add-status").inner_text().startswith("Added in ")
    assert page.locator("#new-classes li").inner_text() == "<b>odd</b> one"  # text, not markup
    page.wait_for_selector("#answer:not([hidden])")
    assert complaints == []
    page.set_input_files("#file", tmp_path / "text.jpg")
    page.wait_for_selector("#photo-status.error")
    assert "not an image" in page.locator("#photo-status").inner_text()
    page.close()
