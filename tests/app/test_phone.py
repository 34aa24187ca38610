"""Pictures that come from a phone."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from app import phone
from app.phone import Phones

JPEG = b"\xff\xd8 a picture"


@pytest.fixture
def client(page):
    with httpx.Client(base_url=page.url, timeout=60) as client:
        yield client


def opened(client, **changed) -> httpx.Response:
    return client.post("/phone", json={"address": "http://a.host/phone/", **changed})


@pytest.mark.slow
def test_what_a_phone_takes_is_fetched_by_the_page_that_showed_the_code(client):
    told = opened(client).json()
    assert told["code"].startswith("<svg")
    here = f"/phone/{told['key']}"
    assert client.post(f"{here}/fetch", json={"classes": ["cup", "a & b"]}).content == b""
    assert client.get(f"{here}/classes").json() == {"classes": ["cup", "a & b"]}
    assert "Tap a class" in client.get(here).text
    assert client.post(here, params={"class": "a & b"}, content=JPEG).status_code == 200
    found = client.post(f"{here}/fetch", json={"classes": ["cup"]}).content
    assert found == b"\0\0\0\5a & b" + b"\0\0\0" + bytes([len(JPEG)]) + JPEG
    assert client.post(f"{here}/fetch", json={"classes": ["cup"]}).content == b""
    gone = client.post(here, params={"class": "a & b"}, content=JPEG)
    assert gone.status_code == 400  # the class was taken away


@pytest.mark.slow
def test_what_makes_no_sense_is_refused_in_a_sentence(client):
    for address in ("javascript:alert(1)", "http://a b/", 5, "http://" + "a" * 500, None):
        assert opened(client, address=address).status_code == 400
    assert client.post("/phone", content=b"[" * 10_000).status_code == 400
    here = f"/phone/{opened(client).json()['key']}"
    for classes in ("cup", ["a"] * 11, ["a" * 41], [5], None):
        assert client.post(f"{here}/fetch", json={"classes": classes}).status_code == 400
    client.post(f"{here}/fetch", json={"classes": ["cup"]})
    for name, file in (("cup", b"GIF89a"), ("cup", JPEG + bytes(80_000)), ("mug", JPEG)):
        assert client.post(here, params={"class": name}, content=file).status_code == 400
    for _ in range(40):
        client.post(here, params={"class": "cup"}, content=JPEG)
    full = client.post(here, params={"class": "cup"}, content=JPEG)
    assert full.status_code == 503 and "wait" in full.json()["detail"]
    nobody = "/phone/" + "x" * 22
    assert client.post(nobody, params={"class": "cup"}, content=JPEG).status_code == 404
    assert client.post(f"{nobody}/fetch", json={"classes": []}).status_code == 404
    assert client.get(f"{nobody}/classes").status_code == 404


@pytest.mark.slow
def test_all_phones_together_have_a_bound(client, monkeypatch):
    here = f"/phone/{opened(client).json()['key']}"
    client.post(f"{here}/fetch", json={"classes": ["cup"]})
    assert client.post(here, params={"class": "cup"}, content=JPEG).status_code == 200
    monkeypatch.setattr(phone, "_OF_ALL", 10)
    assert client.post(here, params={"class": "cup"}, content=JPEG).status_code == 503


def test_a_key_ends_when_its_page_is_silent_and_makes_room(monkeypatch):
    monkeypatch.setattr(phone, "_PHONES", 2)
    now = [0.0]
    phones = Phones(lambda: now[0])
    first, second = phones.open(), phones.open()
    assert phones.open() is None
    now[0] = 20
    assert phones.fetch(first, []) == []
    now[0] = 40
    assert phones.get(second) is None and phones.get(first) is not None
    assert phones.open() is not None


def test_what_a_page_left_behind_goes_without_anybody_asking_for_a_new_code(monkeypatch):
    monkeypatch.setattr(phone, "_AWAY", 0.2)
    made = []
    monkeypatch.setattr(phone, "Phones", lambda: made.append(Phones()) or made[-1])
    transport = httpx.ASGITransport(phone.make())

    async def leave() -> tuple[int, int]:
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            key = (await client.post("/phone", json={"address": "http://a.host/"})).json()["key"]
            await client.post(f"/phone/{key}/fetch", json={"classes": ["cup"]})
            taken = await client.post(f"/phone/{key}", params={"class": "cup"}, content=JPEG)
            assert taken.status_code == 200
            before = made[0].size
            await asyncio.sleep(1.5)
            return before, made[0].size

    assert asyncio.run(leave()) == (len(JPEG), 0)
