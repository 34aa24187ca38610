"""The tools, asked by a client of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import pytest
from mcp.client.client import Client
from mcp_types import ImageContent, TextContent

from app.lanes import Busy
from app.threads import Threads

pytestmark = pytest.mark.slow


@pytest.fixture
def ask(page):
    """Calls one tool, as an assistant would."""

    def call(name, **arguments):
        async def asked():
            async with Client(f"{page.url}/mcp") as client:
                return await client.call_tool(name, arguments)

        return asyncio.run(asked())

    return call


@pytest.fixture
def picture(number_plate, encoded) -> str:
    return base64.b64encode(encoded(number_plate)).decode()


def said(result) -> str:
    return " ".join(part.text for part in result.content if isinstance(part, TextContent))


def test_the_tools_are_found_with_what_they_take(page):
    async def listed():
        async with Client(f"{page.url}/mcp") as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert set(tools) == {"list_models", "classify", "explain", "whatif"}
    assert "base64" in tools["classify"].input_schema["properties"]["image"]["description"]
    assert "integrated_gradients" in json.dumps(tools["explain"].input_schema)
    assert "without_its_class" in tools["classify"].output_schema["properties"]


def test_they_say_what_the_plain_door_says(page, ask, picture):
    with httpx.Client(base_url=page.url, timeout=60) as http:
        plain = http.post("/v1/classify", content=base64.b64decode(picture)).json()
        models = http.get("/v1/models").json()
    told = ask("classify", image=picture).structured_content
    assert told["predicted"] == plain["predicted"] and told["memory"] == plain["memory"]
    assert ask("list_models").structured_content["result"] == models
    other = ask("classify", image=f"data:image/png;base64,{picture}", model="plain")
    assert other.structured_content["model"] == "plain"


def test_an_explanation_comes_with_its_maps_as_pictures(ask, picture):
    result = ask("explain", image=picture, steps=4)
    told = json.loads(result.content[0].text)
    assert told["steps"] == 4 and told["contributions"]["memory"]
    maps = [part for part in result.content if isinstance(part, ImageContent)]
    assert len(maps) >= 2
    assert all(base64.b64decode(one.data).startswith(b"\x89PNG") for one in maps)
    assert result.content[1].text.startswith("input")


def test_another_memory_is_tried_and_may_hold_a_picture_of_ones_own(ask, picture):
    model = ask("list_models").structured_content["result"][0]
    label = model["classes"][0]
    result = ask("whatif", image=picture, edits=[{"add": {"image": picture, "label": label}}])
    told = result.structured_content
    added = [one for one in told["after"]["memory"] if one["index"] == model["bank_size"]]
    assert added and added[0]["label"] == label
    assert all(one["index"] < model["bank_size"] for one in told["before"]["memory"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": "no base64!"}, "base64"),
        ({"image": base64.b64encode(b"no picture").decode()}, "image"),
        ({"image": "https://a.host/picture.png"}, "base64"),
        ({"model": "unknown"}, "model"),
        ({"crop": [0, 0, 9999, 9999]}, "outside"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence(ask, picture, arguments, words):
    result = ask("classify", **{"image": picture} | arguments)
    assert result.is_error
    assert words in said(result) and "Traceback" not in said(result)


def test_a_full_house_and_a_fault_are_said_too(ask, picture, monkeypatch):
    def full(threads):
        raise Busy(10)

    monkeypatch.setattr(Threads, "place", full)
    result = ask("classify", image=picture)
    assert result.is_error and "try again in 10 seconds" in said(result)
    monkeypatch.undo()
    monkeypatch.setattr("app.tools.decoded", lambda data: 1 / 0)
    result = ask("classify", image=picture)
    assert result.is_error and "Something went wrong" in said(result)
    assert "division" not in said(result)


def test_other_sites_and_large_requests_stay_outside(page):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    with httpx.Client(base_url=page.url, timeout=60) as http:
        other = http.post("/mcp", json=call, headers=accept | {"Origin": "https://a.host"})
        large = http.post("/mcp", content=b"1" * 12_000_000, headers=accept)
        many = (
            b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[' + b"[]," * 60_000 + b"1]}"
        )
        small = http.post(
            "/mcp", content=many, headers=accept | {"Content-Type": "application/json"}
        )
        assert (other.status_code, large.status_code, small.status_code) == (403, 413, 413)
        assert http.post("/mcp", json=call, headers=accept).status_code == 200
        assert http.get("/mcp").status_code == 405
