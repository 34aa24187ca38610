"""The published files: parsed without a pickle, fetched and checked."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from image_folders import write_digits
from scipy.io import savemat

from memorywrap.data.banks import draw_bank
from memorywrap.data.published import PublishedFile
from memorywrap.data.sets import DATA_SETS, DataError, load_data


def cifar10_files():
    """File name -> records: a cat and a truck in each, whose pixels count up."""
    record = np.arange(3073, dtype=np.int64).astype(np.uint8)
    records = np.stack([record, record])
    records[:, 0] = (3, 9)
    names = [*(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin"]
    return dict.fromkeys(names, records.tobytes())


def test_published_cifar10_records_are_parsed_without_a_pickle(data):
    folder = data / "cifar10/cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name, records in cifar10_files().items():
        (folder / name).write_bytes(records)
    cifar = load_data("cifar10")
    assert cifar.classes[3] == "cat" and len(cifar.train) == 10
    assert cifar.test.labels.tolist() == [3, 9]
    # Channel by channel, row by row: byte 1 + 1024 * channel + 32 * row + column.
    assert cifar.test.images[0, 2, 5, 7].item() == (1 + 2048 + 5 * 32 + 7) % 256
    (folder / "test_batch.bin").write_bytes(b"\1" * 3000)
    with pytest.raises(DataError, match=r"test_batch\.bin is damaged"):
        load_data("cifar10")


def test_published_svhn_calls_its_label_ten_zero(data, monkeypatch):
    (data / "svhn").mkdir(parents=True)
    pixels = np.zeros((32, 32, 3, 2), np.uint8)
    pixels[4, 6, 1, 1] = 77
    files = []
    for file in DATA_SETS["svhn"].files:
        path = data / "svhn" / file.name
        savemat(path, {"X": pixels, "y": np.array([[10], [4]])})
        files.append(replace(file, md5=hashlib.md5(path.read_bytes()).hexdigest()))
    with pytest.raises(
        DataError, match=r"train_32x32\.mat is damaged: remove it and download SVHN"
    ):
        load_data("svhn")
    monkeypatch.setitem(DATA_SETS, "svhn", replace(DATA_SETS["svhn"], files=tuple(files)))
    svhn = load_data("svhn")
    assert svhn.train.labels.tolist() == [0, 4]
    assert svhn.train.images[1, 1, 4, 6].item() == 77


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """CIFAR-10's archive in small, published by a server of ours; yields the path of the archive."""
    archive = tmp_path / "published/cifar-10-binary.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, mode="w:gz") as tar:
        for name, records in cifar10_files().items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(records)
            tar.addfile(entry, io.BytesIO(records))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    handler = partial(SilentHandler, directory=archive.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        file = PublishedFile(url, md5, folder="cifar-10-batches-bin")
        monkeypatch.setitem(DATA_SETS, "cifar10", replace(DATA_SETS["cifar10"], files=(file,)))
        yield archive
        server.shutdown()


def test_an_archive_is_fetched_on_request_and_once(data, publisher):
    with pytest.raises(DataError, match="add --download"):
        load_data("cifar10")
    assert len(load_data("cifar10", fetch=True).train) == 10
    assert {path.name for path in (data / "cifar10").iterdir()} == {"cifar-10-batches-bin"}
    publisher.unlink()
    assert len(load_data("cifar10", fetch=True).test) == 2
    assert len(draw_bank({"dataset": "cifar10", "seed": 0, "size": 4}).labels) == 4


def test_a_download_that_fails_is_one_sentence_and_leaves_nothing_that_is_read(data, publisher):
    publisher.write_bytes(publisher.read_bytes()[:-9])
    for _ in range(2):
        with pytest.raises(DataError, match=r"^cifar10 could not be downloaded: "):
            load_data("cifar10", fetch=True)
        assert not DATA_SETS["cifar10"].at_hand()


def test_an_image_folder_comes_before_published_files(data, publisher):
    load_data("cifar10", fetch=True)
    write_digits(data / "cifar10", 2)
    assert load_data("cifar10").version["format"] == "png"
