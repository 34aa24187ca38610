"""Whatever is sent to an endpoint, it answers in a sentence, and the next visitor is answered."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.slow

_WORDS = st.sampled_from([
    "remove", "restore", "only_class", "no_class", "add", "redraw", "image", "label", "path", "url", "meta",
    "digits", "plain", "red", "integrated_gradients", "saliency", "white", "data:image/png;base64,AAAA",
])  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _WORDS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip
_HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
_FEW = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture
def client(page):
    with httpx.Client(base_url=page.url, timeout=60) as client:
        yield client


@pytest.fixture
def plate(number_plate, encoded):
    return encoded(number_plate)


def is_answered(answer: httpx.Response) -> bool:
    """With what was asked for, or with a sentence that shows nothing from inside."""
    if answer.status_code == 200:
        return True
    inside = ("Traceback", 'File "', "site-packages", "object at 0x")
    return answer.status_code < 500 and not any(word in answer.text for word in inside)


@_FEW
@given(arguments=st.dictionaries(
    st.sampled_from(["model", "crop", "edits", "steps", "method", "baseline"]), _JSON, max_size=3
))  # fmt: skip
@pytest.mark.parametrize("endpoint", ["classify", "whatif", "explain"])
def test_the_plain_door(client, plate, endpoint, arguments):
    fields = {name: json.dumps(value) for name, value in arguments.items()}
    if endpoint == "explain":
        fields.setdefault("steps", "1")
    answer = client.post(f"/v1/{endpoint}", files={"image": ("a.png", plate)}, data=fields)
    assert is_answered(answer), answer.text


@_FEW
@given(data=_JSON | st.lists(_JSON, max_size=6))
@pytest.mark.parametrize("endpoint", ["classify", "explain", "whatif", "models"])
def test_the_endpoints_of_gradio(client, endpoint, data):
    called = client.post(
        f"/gradio_api/call/{endpoint}", content=json.dumps({"data": data}), headers=_HEADERS
    )
    assert is_answered(called), called.text
    if called.status_code == 200:
        told = client.get(f"/gradio_api/call/{endpoint}/{called.json()['event_id']}")
        assert is_answered(told), told.text


@_FEW
@given(
    name=_WORDS | st.sampled_from(["classify", "explain", "whatif", "list_models"]), arguments=_JSON
)
def test_the_tools(client, name, arguments):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": arguments}}  # fmt: skip
    answer = client.post("/mcp", content=json.dumps(call), headers=_HEADERS)
    assert is_answered(answer), answer.text


@_FEW
@given(body=_JSON)
@pytest.mark.parametrize("path", ["queue/join", "run/predict", "cancel"])
def test_what_the_page_itself_sends(client, path, body):
    answer = client.post(f"/gradio_api/{path}", content=json.dumps(body), headers=_HEADERS)
    assert is_answered(answer), answer.text


def test_afterwards_the_next_visitor_is_answered(client, plate):
    assert client.post("/v1/classify", content=plate).status_code == 200
