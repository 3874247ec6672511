"""The page: its answers, who may ask, what is refused before it is read, and how it behaves in a real browser."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import tempfile
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bad_photos import BAD, JPEG

from zsl.photos import Limits, read_photo
from zsl.predict import Reader
from zsl.serve import MAX_TABLE_BYTES, Desk, PageServer

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
        (FORM, ["x"], "needed is JSON"),
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
    assert ask(server, "POST", "/api/predict", None, {"Content-Type": PHOTO, "Content-Length": "-1"})[0].status == 411


def test_it_listens_to_this_machine_only_unless_told_and_never_to_every_interface(
    server: PageServer, tiny_reader: Reader
) -> None:
    assert server.server_address[0] == "127.0.0.1"
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(ValueError, match="every interface"):
            PageServer(server.desk, host, 0)


# --- a real browser --------------------------------------------------------------------------------------------------


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
    page.locator("#changes input").first.evaluate("each => { each.value = each.max; }")
    page.click("#like button:not(.small)")
    page.wait_for_selector("#new-classes li, #add-status.error")
    assert page.locator("#add-status").inner_text() == "Added."
    assert page.locator("#new-classes li").inner_text() == "<b>odd</b> one"  # text, not markup
    page.wait_for_selector("#answer:not([hidden])")
    assert complaints == []
    page.set_input_files("#file", tmp_path / "text.jpg")
    page.wait_for_selector("#photo-status.error")
    assert "not an image" in page.locator("#photo-status").inner_text()
    page.close()
