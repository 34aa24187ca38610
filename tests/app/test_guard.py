"""Who and what gets in and out."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx
import pytest
from gradio.utils import get_upload_folder

from app import bodies, guard
from app.guard import Guard

UPLOAD, JOIN = "/gradio_api/upload", "/gradio_api/queue/join"


async def echo(scope, receive, send):
    """Answers with the size of the body, whatever is asked."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    headers = [(b"access-control-allow-origin", b"*"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(size).encode()})


def ask(method: str, path: str, app=echo, password: str = "", **options) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(app, password))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.request(method, path, **options)

    return asyncio.run(once())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/assets/index.js", 200),
        ("GET", "/gradio_api/info", 200),
        ("GET", "/gradio_api/heartbeat/abc", 404),  # a connection for as long as a page is open
        ("POST", UPLOAD, 200),
        ("POST", "/gradio_api/call/classify", 200),
        ("POST", "/gradio_api/call/v2/explain/", 200),
        ("POST", "/gradio_api/call/opened", 404),  # one of the page's own events
        ("POST", "/gradio_api/call/classify%0aforged", 404),
        ("POST", "/gradio_api/run/explain", 404),
        ("POST", "/gradio_api/component_server", 404),
        ("POST", "/gradio_api/process_recording", 404),
        ("GET", "/gradio_api/deep_link", 404),
        ("GET", "/gradio_api/proxy=http://a.host/", 404),
        ("GET", "/gradio_api/custom_component/a/client/t/f.js", 404),
        ("GET", "/monitoring", 404),
        ("GET", "/v1/classify", 405),
        ("POST", "/healthz", 405),
        ("GET", "/nothing", 404),
        ("GET", UPLOAD, 405),
        ("OPTIONS", JOIN, 405),
        ("PUT", "/", 405),
    ],
)
def test_only_what_the_page_needs_exists(method, path, status):
    answer = ask(method, path)
    assert answer.status_code == status
    if path == "/v1/classify":
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "name",
    [
        "http://a.host/x",
        "https:/a.host/x",
        "/etc/passwd",
        "{folder}/../x",
        "data:,x",
        "{folder}x/y",
    ],
)
def test_only_uploads_are_handed_out_and_no_address_is_fetched(name):
    folder = get_upload_folder()
    assert ask("GET", f"/gradio_api/file={folder}/a/b.png").status_code == 200
    assert ask("GET", f"/gradio_api/file={name.format(folder=folder)}").status_code == 404


def test_every_answer_says_what_a_browser_may_do_with_it():
    for path in ("/", "/nothing"):
        headers = ask("GET", path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Origin": "http://page"}, 200),
        ({"Origin": "http://evil", "X-Forwarded-Host": "evil"}, 200),  # behind a proxy
        ({"Origin": "http://evil"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(headers, status):
    assert ask("POST", JOIN, headers=headers).status_code == status


def test_a_password_is_asked_for_where_one_is_set():
    refused = ask("GET", "/", password="class:secret")
    assert refused.status_code == 401 and "Basic" in refused.headers["www-authenticate"]
    assert ask("GET", "/", password="class:secret", auth=("class", "wrong")).status_code == 401
    assert ask("GET", "/", password="class:secret", auth=("class", "secret")).status_code == 200
    umlaut = httpx.BasicAuth("klasse", "schlüssel")
    assert ask("GET", "/", password="klasse:schlüssel", auth=umlaut).status_code == 200


def test_large_requests_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(bodies, "_UPLOAD", 2000)
    monkeypatch.setattr(bodies, "_OTHER", 100)
    assert ask("POST", UPLOAD, content=b"x" * 2000).text == "2000"
    assert ask("POST", JOIN, content=b"x" * 100).text == "100"
    assert ask("POST", UPLOAD, content=b"x" * 2001).status_code == 413
    assert ask("POST", JOIN, content=b"x" * 101).status_code == 413

    async def pieces():
        for _ in range(30):
            yield b"x" * 100

    assert ask("POST", UPLOAD, content=pieces()).status_code == 413  # it names no length
    assert ask("POST", UPLOAD, headers={"Content-Length": "-1"}).status_code == 413


@pytest.mark.parametrize("size", [7, 100_000])
def test_a_form_has_few_parts_however_it_is_cut_into_pieces(size):
    def form(parts: int) -> bytes:
        part = b'--ab\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'
        return part * parts + b"--ab--\r\n"

    async def pieces(body: bytes):
        for at in range(0, len(body), size):
            yield body[at : at + size]

    kind = {"Content-Type": 'multipart/form-data; boundary="ab"'}
    assert ask("POST", UPLOAD, content=pieces(form(20)), headers=kind).status_code == 200
    refused = ask("POST", UPLOAD, content=pieces(form(21)), headers=kind)
    assert refused.status_code == 413 and "20 parts" in refused.text


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(bodies, "_PAUSE", 0.05)

    async def slow():
        yield b"x"
        await asyncio.sleep(5)
        yield b"x"

    assert ask("POST", UPLOAD, content=slow()).status_code == 408


def test_one_address_cannot_ask_without_end(monkeypatch):
    monkeypatch.setattr(guard, "_AT_ONCE", 3)
    monkeypatch.setattr(guard, "_PER_SECOND", 0)

    async def many() -> list[int]:
        transport = httpx.ASGITransport(Guard(echo, ""))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return [(await client.get("/")).status_code for _ in range(4)]

    assert asyncio.run(many()) == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("bytes=5-", True), ("bytes=0-9", True), ("bytes=0-1,5-6", False), ("bytes=-5", False)],
)
def test_ranges_that_gradio_stumbles_over_are_left_out(given, kept):
    seen = {}

    async def look(scope, receive, send):
        seen.update(scope["headers"])
        await echo(scope, receive, send)

    assert ask("GET", "/", look, headers={"Range": given}).status_code == 200
    assert (b"range" in seen) is kept


@pytest.mark.parametrize(("error", "status"), [(KeyError("9"), 400), (OSError("disk"), 500)])
def test_what_fails_inside_is_one_sentence_outside_and_one_line_in_the_log(error, status, caplog):
    async def fails(scope, receive, send):
        raise error

    with caplog.at_level(logging.WARNING):
        answer = ask("POST", JOIN, fails)
    assert answer.status_code == status and "disk" not in answer.text
    assert answer.json()["detail"].endswith(".")
    assert len(caplog.records) == 1 and "\n" not in caplog.text.strip()


@pytest.mark.slow
def test_the_page_stands_behind_it(page):
    with httpx.Client(base_url=page.url) as client:
        assert client.get("/").status_code == 200
        assert client.get("/gradio_api/file=http://127.0.0.1:1/").status_code == 404
        body = {"data": [], "fn_index": 99999, "session_hash": "a"}
        assert client.post(JOIN, json=body).status_code == 400
        # Past the queue: only events that do not wait at all.
        named = [fn for fn in page.demo.fns.values() if fn.api_name == "explain"]
        body = {"data": [], "fn_index": named[0]._id, "session_hash": "a"}
        assert client.post("/gradio_api/run/predict", json=body).status_code == 404
        file = {"files": ("a.png", Path(__file__).read_bytes(), "image/png")}
        assert client.post(UPLOAD, files=file).status_code == 200


@pytest.mark.slow
def test_it_stands_before_what_gradio_adds_by_itself(page):
    """Which tells other sites that they may read."""
    with httpx.Client(base_url=page.url) as client:
        foreign = {"Host": "page.example", "Origin": "https://evil.example"}
        for path in ("/", "/config"):
            answer = client.get(path, headers=foreign)
            assert answer.status_code == 200
            assert "access-control-allow-origin" not in answer.headers
            assert "content-security-policy" in answer.headers
        asked = {**foreign, "Access-Control-Request-Method": "POST"}
        assert client.request("OPTIONS", JOIN, headers=asked).status_code == 405


@pytest.mark.parametrize("kind", ["Boundary=ab", 'xboundary=zz; boundary="ab"'])
def test_parts_are_counted_however_the_boundary_is_spelt(kind):
    part = b'--ab\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'
    headers = {"Content-Type": f"multipart/form-data; {kind}"}
    assert (
        ask("POST", UPLOAD, content=part * 30 + b"--ab--\r\n", headers=headers).status_code == 413
    )


def test_two_content_types_are_none():
    headers = [("Content-Type", "multipart/form-data; boundary=a"), ("Content-Type", "text/plain")]
    assert ask("POST", UPLOAD, content=b"x", headers=headers).status_code == 400


def test_who_waits_for_an_answer_takes_no_place_of_those_who_upload(monkeypatch):
    monkeypatch.setattr(bodies, "_UNFINISHED", 1)
    answered = asyncio.Event()

    async def slow(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        if scope["path"] == "/v1/explain":
            await answered.wait()
        await echo(scope, lambda: asyncio.sleep(0, {"type": "http.request"}), send)

    async def both() -> list[int]:
        transport = httpx.ASGITransport(Guard(slow, ""))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            first = asyncio.create_task(client.post("/v1/explain", content=b"x"))
            await asyncio.sleep(0.05)
            second = await client.post(UPLOAD, content=b"x")
            answered.set()
            return [second.status_code, (await first).status_code]

    assert asyncio.run(both()) == [200, 200]


@pytest.mark.slow
def test_nothing_is_counted_under_a_name_that_a_visitor_chose(page):
    with httpx.Client(base_url=page.url) as client:
        for name in ("/v1/mine", "/gradio_api/call/mine"):
            client.get(name)
        assert "mine" not in client.get("/metrics").text


def test_one_address_cannot_take_every_place_for_uploads(monkeypatch):
    monkeypatch.setattr(bodies, "_OF_ONE", 1)
    arriving = asyncio.Event()

    async def slowly():
        yield b"x"
        await arriving.wait()
        yield b"y"

    async def all_of_them() -> list[int]:
        watched = Guard(echo, "")

        def of(address: str) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(watched, client=(address, 1))
            return httpx.AsyncClient(transport=transport, base_url="http://page")

        async with of("10.0.0.1") as one, of("10.0.0.2") as other:
            first = asyncio.create_task(one.post(UPLOAD, content=slowly()))
            await asyncio.sleep(0.05)
            second = await one.post(UPLOAD, content=b"x")
            third = await other.post(UPLOAD, content=b"x")
            arriving.set()
            found = [(await first).status_code, second.status_code, third.status_code]
            return [*found, (await one.post(UPLOAD, content=b"x")).status_code]

    assert asyncio.run(all_of_them()) == [200, 503, 200, 200]


@pytest.mark.parametrize(
    "how", [{"content": b"x" * 1000}, {"headers": {"Transfer-Encoding": "chunked"}}]
)
def test_what_is_not_posted_has_no_body(how):
    """Nothing bounds it: whoever sends the half of one would keep his place for ever."""
    for path in ("/v1/memory", "/"):
        answer = ask("GET", path, **how)
        assert answer.status_code == 400 and "posted" in answer.json()["detail"]


def test_a_form_without_a_boundary_is_refused():
    headers = {"Content-Type": "Multipart/form-data; boundary="}
    answer = ask("POST", UPLOAD, content=b"--\r\n" * 100, headers=headers)
    assert answer.status_code == 400 and "boundary" in answer.json()["detail"]


@pytest.mark.parametrize("bound", ["_HELD", "_HELD_OF_ONE"])
def test_what_waits_for_its_answer_takes_bounded_memory(monkeypatch, bound):
    monkeypatch.setattr(bodies, bound, 1000)
    answered = asyncio.Event()

    async def slow(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await answered.wait()
        await echo(scope, lambda: asyncio.sleep(0, {"type": "http.request"}), send)

    async def ask_them() -> list[int]:
        watched = Guard(slow, "")
        transport = httpx.ASGITransport(watched, client=("10.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            first = asyncio.create_task(client.post("/v1/explain", content=b"x" * 999))
            await asyncio.sleep(0.05)
            refused = await client.post("/v1/classify", content=b"x")
            answered.set()
            found = [(await first).status_code, refused.status_code]
            assert "again" in refused.json()["detail"] and refused.headers["retry-after"] == "5"
            return [*found, (await client.post("/v1/classify", content=b"x")).status_code]

    assert asyncio.run(ask_them()) == [200, 503, 200]


def test_those_who_are_let_in_together_are_bounded_as_well(monkeypatch):
    monkeypatch.setattr(bodies, "_HELD_OF_ONE", 1000)
    begun = asyncio.Event()

    async def slowly():
        yield b"x"
        await begun.wait()
        yield b"x" * 600

    async def slow(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await asyncio.sleep(0.1)
        await echo(scope, lambda: asyncio.sleep(0, {"type": "http.request"}), send)

    async def ask_them() -> list[int]:
        watched = Guard(slow, "")
        transport = httpx.ASGITransport(watched, client=("10.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            asked = [client.post("/v1/classify", content=slowly()) for _ in range(2)]
            both = asyncio.gather(*asked)
            await asyncio.sleep(0.05)
            begun.set()
            found = sorted(answer.status_code for answer in await both)
            return [*found, (await client.post("/v1/classify", content=b"x")).status_code]

    assert asyncio.run(ask_them()) == [200, 503, 200]


def test_a_household_s_addresses_are_one_and_the_busy_are_remembered(monkeypatch):
    monkeypatch.setattr(guard, "_AT_ONCE", 2)
    monkeypatch.setattr(guard, "_PER_SECOND", 0)
    monkeypatch.setattr(guard, "_ADDRESSES", 3)
    watched = Guard(echo, "")

    async def from_(address: str) -> int:
        transport = httpx.ASGITransport(watched, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return (await client.get("/")).status_code

    async def all_of_them() -> list[int]:
        found = [await from_(f"2001:db8::{number}") for number in (1, 2, 3)]
        for number in range(8):  # others come and go, and it goes on
            await from_(f"10.0.0.{number}")
            found.append(await from_("2001:db8::4"))
        return found

    assert asyncio.run(all_of_them()) == [200, 200, *[429] * 9]


@pytest.mark.slow
def test_what_gradio_does_not_understand_is_a_sentence(page):
    answer = httpx.post(f"{page.url}{JOIN}", json={"data": 5, "fn_index": ["a secret"]})
    assert answer.status_code == 400 and "not understood" in answer.json()["detail"]
    assert "secret" not in answer.text
