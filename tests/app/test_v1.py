"""The plain door for programs."""

from __future__ import annotations

import base64
import errno
import io
import json
import threading

import httpx
import numpy as np
import pytest
from PIL import Image

from app import v1
from app.cage import decoded
from app.lanes import Busy
from app.threads import Threads

pytestmark = pytest.mark.slow


@pytest.fixture
def client(page):
    with httpx.Client(base_url=page.url, timeout=60) as client:
        yield client


@pytest.fixture
def plate(number_plate, encoded) -> bytes:
    return encoded(number_plate)


def test_an_image_is_classified_whatever_way_it_comes(client, page, plate, number_plate):
    crop = [0, 0, 240, 240]
    expected = page.models.get("digits").predict(number_plate, box=tuple(crop)).to_dict("digits")
    raw = client.post("/v1/classify", content=plate, params={"crop": json.dumps(crop)})
    form = client.post(
        "/v1/classify", files={"image": ("a.png", plate)}, data={"crop": json.dumps(crop)}
    )
    for answer in (raw, form):
        assert answer.status_code == 200
        told = answer.json()
        assert told["predicted"] == expected["predicted"]
        assert told["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
        assert [one["index"] for one in told["memory"]] == [
            one["index"] for one in expected["memory"]
        ]


def test_it_finds_the_square_itself_and_takes_another_model(client, plate):
    told = client.post("/v1/classify", content=plate, params={"model": "plain"}).json()
    assert told["model"] == "plain" and told["memory"] == []


def test_an_explanation_comes_with_its_maps(client, plate):
    told = client.post("/v1/explain", content=plate, params={"steps": 4}).json()
    assert told["steps"] == 4 and told["contributions"]["memory"]
    assert told["maps"][0]["caption"].startswith("input")
    for picture in told["maps"]:
        data = base64.b64decode(picture["image"].partition(",")[2])
        assert Image.open(io.BytesIO(data)).format == "PNG"


def test_the_memory_is_edited_for_one_request(client, page, plate, encoded):
    used = client.post("/v1/classify", content=plate).json()["memory"][0]["index"]
    added = encoded(Image.new("RGB", (32, 32), "red"))
    label = page.models.config("digits").classes[0]
    edits = [{"remove": used}, {"add": {"image": "mine", "label": label}}]
    told = client.post(
        "/v1/whatif",
        files={"image": ("a.png", plate), "mine": ("b.png", added)},
        data={"edits": json.dumps(edits)},
    ).json()
    assert used in [one["index"] for one in told["before"]["memory"]]
    assert used not in [one["index"] for one in told["after"]["memory"]]
    assert client.post("/v1/classify", content=plate).json() == told["before"]


def test_a_file_that_is_added_many_times_is_decoded_once(client, page, plate, encoded, monkeypatch):
    asked = []
    monkeypatch.setattr(v1, "decoded", lambda data: asked.append(len(data)) or decoded(data))
    added = encoded(Image.new("RGB", (32, 32), "red"))
    edits = [{"add": {"image": "mine", "label": page.models.config("digits").classes[0]}}] * 5
    told = client.post(
        "/v1/whatif",
        files={"image": ("a.png", plate), "mine": ("b.png", added)},
        data={"edits": json.dumps(edits)},
    )
    assert told.status_code == 200 and asked == [len(plate), len(added)]


def test_models_are_listed(client, page):
    assert client.get("/v1/models").json() == page.models.describe()


def test_the_memory_is_listed_and_shown(client, page):
    bank = page.models.get("digits").require_bank()
    told = client.get("/v1/memory", params={"model": "digits"}).json()
    assert len(told) == len(bank) and told[3]["index"] == 3
    assert [one["label"] for one in told] == [
        page.models.config("digits").classes[label] for label in bank.labels
    ]
    picture = client.get("/v1/memory/3", params={"model": "digits"})
    assert picture.headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(io.BytesIO(picture.content)).convert("RGB"))
    assert (pixels == bank.images[3].permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize(
    ("path", "model", "message"),
    [
        ("memory/999", "digits", "expected 0 to"),
        ("memory/0", "plain", "has no memory"),
        ("memory", "plain", "has no memory"),
        ("memory", "other", "Unknown model"),
    ],
)
def test_what_is_no_memory_is_said(client, path, model, message):
    answer = client.get(f"/v1/{path}", params={"model": model})
    assert answer.status_code == 400 and message in answer.json()["detail"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"content": b""}, "empty"),
        ({"content": b"no picture"}, "not an image"),
        ({"files": {"file": ("a.png", b"x")}}, "a file called image"),
        ({"content": b"x", "params": {"model": "other"}}, "Unknown model"),
        ({"content": b"x", "params": {"model": "later"}}, "has no memory yet"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
            "names no boundary",
        ),
    ],
)
def test_what_is_refused_is_one_sentence(client, request_, message):
    answer = client.post("/v1/classify", **request_)
    assert answer.status_code == 400
    (sentence,) = answer.json().values()
    assert message in sentence and "Traceback" not in sentence


@pytest.mark.parametrize(
    ("crop", "message"),
    [("[1, 2", "as JSON"), ("[" * 100_000, "as JSON"), ("[5, 5, 5, 5]", "empty")],
)
def test_a_crop_that_makes_no_sense_is_refused(client, plate, crop, message):
    form = {"files": {"image": ("a.png", plate)}, "data": {"crop": crop}}
    answer = client.post("/v1/classify", **form)
    assert answer.status_code == 400 and message in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "params", "message"),
    [
        ("/v1/explain", {"method": "magic"}, "Unknown method"),
        ("/v1/explain", {"steps": "many"}, "not understood"),
        ("/v1/explain", {"steps": 9999}, "steps are expected"),
        ("/v1/explain", {"model": "plain"}, "no memory"),
        ("/v1/whatif", {"edits": '{"remove": 1}'}, "expected as a list"),
        ("/v1/whatif", {"edits": '[{"add": {"image": "mine", "label": "x"}}]'}, "names no file"),
        ("/v1/whatif", {"model": "plain"}, "no memory"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(client, plate, path, params, message):
    answer = client.post(path, content=plate, params=params)
    assert answer.status_code == 400 and message in answer.json()["detail"]


def test_many_at_once_are_answered_together_and_each_his_own(client, page, encoded):
    """What waits while the model is at work is one batch."""
    batches = []
    together = page.models.answers._seen
    page.models.answers._seen = lambda count, seconds: batches.append(count)
    pictures = [
        encoded(Image.effect_noise((32, 32), 20 + 10 * n).convert("RGB")) for n in range(12)
    ]
    found: dict[int, dict] = {}

    def ask(number: int) -> None:
        found[number] = httpx.post(
            f"{page.url}/v1/classify", content=pictures[number], timeout=60
        ).json()

    try:
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        page.models.answers._seen = together
    assert sum(batches) == 12
    model = page.models.get("digits")
    for number, picture in enumerate(pictures):
        alone = model.predict(picture).to_dict("digits")
        assert found[number]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-4)


def test_when_too_many_wait_they_are_told_when_to_come_back(client, plate, monkeypatch):
    def full(threads):
        raise Busy(10)

    monkeypatch.setattr(Threads, "place", full)
    answer = client.post("/v1/classify", content=plate)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0


def test_it_describes_itself_without_asking_elsewhere(client):
    spec = client.get("/v1/openapi.json").json()
    named = ("models", "memory", "memory/{index}", "classify", "explain", "whatif")
    assert set(spec["paths"]) == {f"/v1/{name}" for name in named}
    assert "without_its_class" in spec["components"]["schemas"]["Answer"]["properties"]
    text = client.get("/v1/docs").text
    assert "/v1/whatif" in text and "http://" not in text and "https://" not in text


def test_health_and_metrics(client, page, plate):
    page.models.is_ready = False
    assert client.get("/healthz").status_code == 503
    page.models.is_ready = True
    assert client.get("/healthz").text == "ready\n"
    client.post("/v1/classify", content=plate)
    text = client.get("/metrics").text
    assert 'memorywrap_requests_total{route="/v1/classify",status="200"}' in text
    assert 'memorywrap_waiting{lane="answers"}' in text


def test_a_full_disk_is_said_and_the_page_goes_on(client, plate, monkeypatch):
    """Forms of over a megabyte are written down while they come in."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", full)
    answer = client.post("/v1/classify", files={"image": ("a.png", bytes(3_000_000))})
    assert answer.status_code == 507 and "no room" in answer.json()["detail"]
    assert client.post("/v1/classify", content=plate).status_code == 200
