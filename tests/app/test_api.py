"""The endpoints, through gradio_client and through plain HTTP with hostile payloads."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest
import tiny
from gradio_client import Client, handle_file
from PIL import Image

from app.uploads import NOT_AN_UPLOAD
from memorywrap import PatchCounterfactual
from memorywrap.explanation.methods import methods
from memorywrap.images import read_image

pytestmark = pytest.mark.slow

FILE = {"_type": "gradio.FileData"}


@pytest.fixture(scope="module")
def client(page):
    return Client(page.url, verbose=False)


@pytest.fixture
def plate_file(number_plate, tmp_path):
    path = tmp_path / "plate.png"
    number_plate.save(path)
    return path


@pytest.fixture
def upload(page):
    def send(data: bytes, name: str = "image.png") -> str:
        answer = httpx.post(f"{page.url}/gradio_api/upload", files={"files": (name, data)})
        return answer.raise_for_status().json()[0]

    return send


@pytest.fixture
def post(page):
    """Calls an endpoint over plain HTTP: (event, data)."""

    def call(name: str, *data: object) -> tuple[str, object]:
        url = f"{page.url}/gradio_api/call/{name}"
        started = httpx.post(url, json={"data": list(data)}, timeout=60)
        if started.status_code != 200:
            return "refused", started.text
        body = httpx.get(f"{url}/{started.json()['event_id']}", timeout=60).text
        event, _, data_line = body.strip().rpartition("event: ")[2].partition("\ndata: ")
        return event, json.loads(data_line)

    return call


def assert_one_sentence(event: str, data: object) -> str:
    """Refused, with one sentence that names neither a path nor code."""
    assert event == "error"
    assert isinstance(data, dict) and isinstance(data["error"], str), data
    sentence = data["error"]
    for leak in ("Traceback", "/tmp", "passwd", ".py", "/home", "Error(", "\n"):
        assert leak not in sentence
    assert sentence.endswith(".") and 20 < len(sentence) < 160
    return sentence


def test_models_lists_every_checkpoint_with_its_state(client):
    models = {model["name"]: model for model in client.predict(api_name="/models")}
    assert list(models) == ["digits", "later", "plain"]
    assert models["digits"] == {
        "name": "digits",
        "title": "Random",
        "classes": list(tiny.CLASSES),
        "bank_size": 20,
        "available": True,
    }
    assert models["later"]["available"] is False and models["later"]["bank_size"] == 100
    assert models["plain"]["available"] is True and models["plain"]["bank_size"] == 0


def test_classify_gives_the_object_of_the_library(client, page, plate_file):
    answer = client.predict(handle_file(plate_file), api_name="/classify")
    model = page.models.get("digits")
    box = model.suggest_box(read_image(plate_file))
    expected = model.predict(plate_file, box=box).to_dict("digits")
    assert set(answer) == set(expected)
    for name in ("model", "predicted", "example", "counterfactual", "contrast"):
        assert answer[name] == expected[name]
    for sample, same in zip(answer["memory"], expected["memory"], strict=True):
        assert sample.pop("weight") == pytest.approx(same.pop("weight"), abs=1e-5)
        assert sample == same
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_crop_changes_what_is_seen(client, page, plate_file):
    left = client.predict(handle_file(plate_file), "digits", [0, 0, 240, 240], api_name="/classify")
    expected = page.models.get("digits").predict(plate_file, box=(0, 0, 240, 240))
    assert list(left["probabilities"].values()) == pytest.approx(expected.probabilities, abs=1e-5)


def test_explain_gives_the_object_and_a_gallery(client, plate_file):
    answer, gallery = client.predict(
        handle_file(plate_file), baseline="black", steps=4, api_name="/explain"
    )
    assert answer["method"] == "integrated_gradients"
    assert (answer["baseline"], answer["steps"]) == ("black", 4)
    assert answer["completeness_error"] >= 0
    used = {str(sample["index"]) for sample in answer["memory"]}
    assert set(answer["contributions"]["memory"]) == used
    captions = [picture["caption"] for picture in gallery]
    assert captions[0].startswith("input, predicted ")
    roles = {"example", "counterfactual", "contrast", "patch counterfactual"}
    shown = {caption.split(",")[0] for caption in captions[1:]}
    assert shown == {role for role in roles if answer[role.replace(" ", "_")] is not None}


def test_explain_gives_the_patch_counterfactual_and_its_picture(client, plate_file, monkeypatch):
    def found(classifier, predictions):  # an untrained model says the same of any picture
        cells = ((1, 2), (1, 3))
        return [
            PatchCounterfactual(3, cells, (0, 2), False, one.bank.images[3], one)
            for one in predictions
        ]

    monkeypatch.setattr("app.models.patch_counterfactuals", found)
    answer, gallery = client.predict(
        handle_file(plate_file), method="saliency", api_name="/explain"
    )
    patch = answer["patch_counterfactual"]
    assert patch == {
        "source": 3,
        "predicted": answer["predicted"],
        "probability": pytest.approx(answer["probabilities"][answer["predicted"]]),
        "cells": [[1, 2], [1, 3]],
        "grid": 8,
        "shift": [0, 2],
        "mirrored": False,
    }
    last = gallery[-1]["caption"]
    assert last.startswith("patch counterfactual, ") and "2 of 64 cells" in last


def test_whatif_gives_the_answer_before_and_after(client, page, plate_file, encoded):
    plain = client.predict(handle_file(plate_file), api_name="/whatif")
    assert plain["before"] == plain["after"]
    used = plain["before"]["memory"][0]["index"]
    edits = [{"remove": used}, {"add": {"image": handle_file(plate_file), "label": "green"}}]
    told = client.predict(handle_file(plate_file), "digits", edits, api_name="/whatif")
    assert told["before"] == plain["before"]
    indices = {sample["index"] for sample in told["after"]["memory"]}
    assert used not in indices
    assert len(page.models.get("digits").bank) == 20  # its own memory stays


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ([{"remove": 99}], "no memory sample 99"),
        ([{"burn": 1}], "one of remove"),
        ([{"only_class": "purple"}], "Unknown class"),
        ([{"add": {"image": {"path": "/etc/passwd", "meta": FILE}, "label": "red"}}], "uploaded"),
        ([{"add": {"image": "/etc/passwd", "label": "red"}}], "upload"),
    ],
)
def test_edits_that_cannot_be_made_are_refused(post, upload, number_plate, encoded, edits, said):
    image = {"path": upload(encoded(number_plate)), "meta": FILE}
    assert said in assert_one_sentence(*post("whatif", image, "digits", edits))


@pytest.mark.slow
@pytest.mark.parametrize("method", methods()[1:])
def test_methods_that_promise_no_completeness_answer_with_nulls(
    post, upload, number_plate, encoded, method
):
    image = {"path": upload(encoded(number_plate)), "meta": FILE}
    event, data = post("explain", image, "digits", method)
    assert event == "complete"
    answer, gallery = data
    assert answer["method"] == method and len(gallery) == 3
    for name in ("steps", "completeness_error", "converged"):
        assert answer[name] is None
    assert answer["contributions"] == {"input": None, "memory": {}}


def test_gallery_pictures_are_served(page, upload, post, number_plate, encoded):
    path = upload(encoded(number_plate))
    event, data = post(
        "explain", {"path": path, "meta": FILE}, "digits", "integrated_gradients", "white", 2
    )
    assert event == "complete"
    picture = data[1][0]["image"]
    served = httpx.get(picture["url"])
    assert served.headers["content-type"] == "image/png" and served.content[:4] == b"\x89PNG"


def test_model_without_memory_answers_and_says_that_it_has_nothing_to_explain(
    post, upload, number_plate, encoded
):
    image = {"path": upload(encoded(number_plate)), "meta": FILE}
    event, data = post("classify", image, "plain")
    assert event == "complete" and data[0]["memory"] == [] and data[0]["example"] is None
    assert "no memory" in assert_one_sentence(*post("explain", image, "plain"))


def test_only_four_endpoints_are_public(page, post):
    info = httpx.get(f"{page.url}/gradio_api/info").json()
    assert set(info["named_endpoints"]) == {"/models", "/classify", "/explain", "/whatif"}
    assert info["unnamed_endpoints"] == {}
    for endpoint in ("/classify", "/explain", "/whatif"):
        image, *others = info["named_endpoints"][endpoint]["parameters"]
        assert image["label"] == "image" and not image["parameter_has_default"]
        assert all(other["parameter_has_default"] for other in others)
        assert "Args:" in info["named_endpoints"][endpoint]["description"]


@pytest.mark.parametrize(
    "payload",
    [
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "meta": FILE},
        {"path": "../../../../../etc/passwd", "meta": FILE},
        {"path": "file:///etc/passwd", "meta": FILE},
        {"path": "http://example.com/7.png", "meta": FILE},
        {"path": "https://169.254.169.254/latest/meta-data", "meta": FILE},
        {"url": "http://example.com/7.png"},
        {"path": None, "url": "http://example.com/7.png", "meta": FILE},
        {"path": "data:image/png;base64,AAAA", "meta": FILE},
        {"path": "a\0b", "meta": FILE},
        {"path": "", "meta": FILE},
        {"path": 7},
        {"path": ["x"], "meta": FILE},
        {"path": "x", "meta": "gradio.FileData"},
        {"nested": {"path": "/etc/passwd", "meta": FILE}},
        "/etc/passwd",
        7,
        True,
        [],
        {},
        None,
        "x" * 100_000,
    ],
    ids=lambda payload: repr(payload)[:50],
)
def test_what_is_not_an_upload_is_refused(post, payload):
    assert_one_sentence(*post("classify", payload))


def test_files_hidden_in_other_arguments_are_refused(post, upload, number_plate, encoded):
    image = {"path": upload(encoded(number_plate)), "meta": FILE}
    for hidden in ({"path": "/etc/passwd", "meta": FILE}, [{"path": "http://example.com/a"}]):
        said = assert_one_sentence(*post("classify", image, "digits", hidden))
        assert NOT_AN_UPLOAD in said or "Addresses are not fetched" in said


def test_nothing_is_fetched(post, monkeypatch):
    fetched = []

    async def record(url, *args, **kwargs):
        fetched.append(url)
        raise OSError

    monkeypatch.setattr("gradio.processing_utils.async_ssrf_protected_download", record)
    post("classify", {"path": "http://example.com/7.png", "meta": FILE})
    post("explain", {"path": "x", "url": "http://example.com/7.png", "meta": FILE})
    assert fetched == []


def test_link_out_of_the_upload_folder_is_refused(post, upload, number_plate, encoded, tmp_path):
    path = Path(upload(encoded(number_plate)))
    outside = tmp_path / "outside.png"
    number_plate.save(outside)
    for name, target in (("link.png", outside), ("inside.png", path)):
        link = path.parent / name
        link.symlink_to(target)
        assert_one_sentence(*post("classify", {"path": str(link), "meta": FILE}))
        assert_one_sentence(*post("classify", {"path": str(link)}))
    climbing = f"{path.parent}/../../{outside.name}"
    assert_one_sentence(*post("classify", {"path": climbing, "meta": FILE}))
    assert_one_sentence(*post("classify", {"path": str(path.parent), "meta": FILE}))


def test_damaged_and_oversized_images_are_refused(post, upload, number_plate, encoded):
    whole = encoded(number_plate)

    def said(data: bytes) -> str:
        return assert_one_sentence(*post("classify", {"path": upload(data), "meta": FILE}))

    assert "not an image" in said(b"this is a text file")
    assert "damaged" in said(whole[: len(whole) // 2])
    assert "25 megapixels" in said(
        encoded(number_plate.resize((5001, 5000)), "PNG", compress_level=1)
    )


def test_a_picture_of_one_colour_is_refused(post, upload, encoded):
    image = {"path": upload(encoded(Image.new("RGB", (50, 50), "white"))), "meta": FILE}
    for endpoint in ("classify", "explain"):
        assert "one plain colour to the model" in assert_one_sentence(*post(endpoint, image))


def test_while_a_memory_is_downloaded_other_models_answer(
    page, post, upload, number_plate, encoded, monkeypatch
):
    begun, go_on = threading.Event(), threading.Event()

    def slow(recipe, *, fetch):
        begun.set()
        assert go_on.wait(60)

    monkeypatch.setattr("app.shelf.draw_bank", slow)
    fetching = threading.Thread(target=page.models.download, args=("later",))
    fetching.start()
    try:
        assert begun.wait(30)
        image = {"path": upload(encoded(number_plate)), "meta": FILE}
        assert "is being downloaded" in assert_one_sentence(*post("classify", image, "later"))
        event, _ = post("classify", image, "digits")
        assert event == "complete" and fetching.is_alive()
    finally:
        go_on.set()
        fetching.join()


def test_upload_over_ten_megabytes_is_refused_with_a_reason(page):
    answer = httpx.post(
        f"{page.url}/gradio_api/upload", files={"files": ("big.png", b"\0" * (11 * 2**20))}
    )
    assert answer.status_code == 413 and "over 10 MB" in answer.text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("nope",), "digits, later, plain"),
        ((7,), "Unknown model"),
        ((None,), "Unknown model"),
        (("../digits",), "Unknown model"),
        (("later",), "has no memory yet"),
        (("digits", "lime"), "integrated_gradients, saliency"),
        (("digits", "integrated_gradients", "red"), "white, black"),
        (("digits", "integrated_gradients", {"a": 1}), "white, black"),
        (("digits", "integrated_gradients", "white", -3), "0 for automatic"),
        (("digits", "integrated_gradients", "white", 10**9), "0 for automatic"),
        (("digits", "integrated_gradients", "white", "many"), "0 for automatic"),
        (("digits", "integrated_gradients", "white", 2, [0, 0, 10]), "[left, top, right, bottom]"),
        (("digits", "integrated_gradients", "white", 2, [0, 0, 10**8, 10**8]), "480 x 240"),
        (("digits", "integrated_gradients", "white", 2, [9, 9, 9, 9]), "The crop is empty"),
        (("digits", "integrated_gradients", "white", 2, [0, 0, 5, 10**400]), "[left, top"),
        (("digits", "integrated_gradients", "white", 2, "all"), "[left, top, right, bottom]"),
    ],
)
def test_wrong_arguments_are_told_what_is_known(
    post, upload, number_plate, encoded, arguments, word
):
    image = {"path": upload(encoded(number_plate)), "meta": FILE}
    assert word in assert_one_sentence(*post("explain", image, *arguments))


def test_events_of_the_page_refuse_foreign_files_too(page, number_plate, tmp_path):
    """They can be called by their number, which the page's configuration tells everyone."""
    number_plate.save(foreign := tmp_path / "plate.png")
    refusals = 0
    config = httpx.get(f"{page.url}/config").json()
    for dependency in config["dependencies"]:
        if not dependency["backend_fn"]:
            continue
        body = {
            "data": [{"path": str(foreign), "meta": FILE}] * len(dependency["inputs"]),
            "fn_index": dependency["id"],
            "session_hash": f"hostile{dependency['id']}",
        }
        joined = httpx.post(f"{page.url}/gradio_api/queue/join", json=body)
        text = joined.text
        if joined.status_code == 200:
            with httpx.stream(
                "GET",
                f"{page.url}/gradio_api/queue/data",
                params={"session_hash": body["session_hash"]},
                timeout=30,
            ) as stream:
                for line in stream.iter_lines():
                    text += line
                    if "process_completed" in line or "close_stream" in line:
                        break
        assert "Traceback" not in text and "/site-packages" not in text
        if dependency["inputs"]:
            assert NOT_AN_UPLOAD in text, dependency
            refusals += 1
    assert refusals > 5


def test_queue_that_is_full_says_how_long_to_wait(page, post, upload, number_plate, encoded):
    queue = page.demo._queue
    image = {"path": upload(encoded(number_plate)), "meta": FILE}
    most, queue.max_size = queue.max_size, 0
    try:
        event, text = post("classify", image)
    finally:
        queue.max_size = most
    assert event == "refused" and "try again in 10 seconds" in text and "Max size" not in text
