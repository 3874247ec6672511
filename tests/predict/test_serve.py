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
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from bad_photos import BAD, JPEG
from command_line import SCRIPTS
from looks import TEXT_CONTRASTS

from zsl.predict import serve
from zsl.predict.photos import Limits, read_photo
from zsl.predict.reader import Reader
from zsl.predict.serve import MAX_DECODING, MAX_TABLE_BYTES, Desk, PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHOTO, TABLE, FORM = "application/octet-stream", "text/csv", "application/json"


@pytest.fixture
def server(tiny_reader: Reader) -> Iterator[PageServer]:
    with PageServer(Desk(reader=tiny_reader, run="tiny", limits=Limits()), port=0) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(
    server: PageServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[HTTPResponse, Any]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
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
    (expected,) = tiny_reader.answers([tiny_reader.backbone.transform(image)], ["photo"], [notes])
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
    assert after["classes"] == [*run["classes"], {"name": "tinted", "kind": "new"}]
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
        predictor = dataclasses.replace(tiny_reader.predictor, facts=facts | {"unit_attributes": has_length_1})
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
        ({"Host": "evil.example"}, 421),  # a name that was made to point to this machine
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
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
    assert response.status == 501
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
    for length in ("-1", "1e3", "9" * 5000):
        headers = {"Content-Type": PHOTO, "Content-Length": length}
        assert ask(server, "POST", "/api/predict", None, headers)[0].status == 411


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
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as client:
        head = f"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Type: {PHOTO}\r\n"
        client.sendall(f"{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert client.recv(100).startswith(first)


def test_the_librarys_own_errors_have_the_headers_that_bind_too(server: PageServer) -> None:
    for request in (
        b"OPTIONS / HTTP/1.1\r\n\r\n",
        b"BREW /tea HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b" * 70_000,
    ):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").read()
        assert b" 4" in answer[:13] or b" 5" in answer[:13]
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
        assert b"\r\nContent-Security-Policy: default-src 'none'" in answer


def test_a_request_that_trickles_in_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte each ten seconds never lets a socket's timeout pass; the clock here is not a real one."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(serve, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = serve._UntilDeadline(SimpleNamespace(deadline=45, connection=ours))  # type: ignore[arg-type]
        theirs.send(b"x" * 50)
        assert [reader.readinto(bytearray(1)) for _ in range(5)] == [1] * 5  # at 0, 10, 20, 30, 40
        assert ours.gettimeout() == 5  # never longer than what is left
        with pytest.raises(TimeoutError, match="took too long"):
            reader.readinto(bytearray(1))


def test_a_client_that_says_nothing_in_time_is_left(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "REQUEST_SECONDS", 0)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as client:
        assert client.recv(1) == b""


def test_more_connections_than_a_handful_of_people_have_are_closed(server: PageServer) -> None:
    server.slots = threading.Semaphore(1)
    keeps = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    keeps.request("GET", "/")
    keeps.getresponse().read()
    with pytest.raises(ConnectionError):
        ask(server, "GET", "/")
    keeps.close()
    assert server.slots.acquire(timeout=60)  # its end frees the place
    server.slots.release()
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

    monkeypatch.setattr(serve, "read_photo", counted)
    assert ask(server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO})[0].status == 200
    assert left == [MAX_DECODING - 1]
    with ThreadPoolExecutor(4) as pool:
        many = [pool.submit(ask, server, "POST", "/api/predict", JPEG, {"Content-Type": PHOTO}) for _ in range(8)]
        assert {each.result()[0].status for each in many} == {200}
    assert max(left) < MAX_DECODING


def test_it_listens_to_this_machine_only_unless_told_and_never_to_every_interface(
    server: PageServer, tiny_reader: Reader
) -> None:
    assert server.server_address[0] == "127.0.0.1"
    for host in ("0.0.0.0", "", "0", "0x0", "::", "::0", "::ffff:0.0.0.0"):
        try:
            with pytest.raises(ValueError, match="every interface"):
                PageServer(server.desk, host, 0)
        except OSError:
            assert ":" in host  # a machine without IPv6


def test_a_host_may_be_written_in_any_case_and_form(server: PageServer) -> None:
    with PageServer(server.desk, "LocalHost", 0) as other:
        names = {"localhost", "127.0.0.1"}
        assert other.hosts == {f"{name}:{other.server_port}" for name in names}
        assert other.url == f"http://localhost:{other.server_port}/"


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
        found = re.match(r"http://127\.0\.0\.1:(\d+)/  \(Ctrl-C ends it\)", line)
        assert found, line + process.communicate()[1]
        connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
        connection.request("GET", "/api/run")
        assert json.loads(connection.getresponse().read())["run"] == tiny_run.name
        connection.close()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in said


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
