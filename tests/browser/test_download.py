"""A model whose memory has to be drawn from a data set that is not there: the page fetches it."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tiny
from driving import choose_model, pick
from serving import serving

from memorywrap.data.sets import DATA_SETS

expect = pytest.importorskip("playwright.sync_api").expect


def _archive() -> bytes:
    """CIFAR-10's published files in small: noise in place of pictures."""
    chance = np.random.default_rng(0)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in [f"data_batch_{part}.bin" for part in range(1, 6)] + ["test_batch.bin"]:
            records = chance.integers(0, 256, (40, 3073), dtype=np.uint8)
            records[:, 0] = np.arange(40) % len(tiny.CLASSES)
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = records.nbytes
            archive.addfile(entry, io.BytesIO(records.tobytes()))
    return file.getvalue()


@pytest.fixture
def publisher(monkeypatch):
    """Where the archive is published: it sends half, and the rest when `go_on` is set. `online`
    says whether it answers at all."""
    archive = _archive()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not server.online:
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(archive)))
            self.end_headers()
            half = len(archive) // 2
            self.wfile.write(archive[:half])
            server.go_on.wait(30)
            self.wfile.write(archive[half:])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.online, server.go_on = True, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz"
    record = DATA_SETS["cifar10"]
    file = replace(record.files[0], url=address, md5=hashlib.md5(archive).hexdigest())
    monkeypatch.setitem(DATA_SETS, "cifar10", replace(record, files=(file,)))
    yield server
    server.go_on.set()
    server.shutdown()


@pytest.fixture
def own_page(page_checkpoints, monkeypatch, tmp_path):
    """A page of its own, on a machine without data sets."""
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))
    with serving(page_checkpoints) as page:
        yield page


def test_missing_memory_is_downloaded_with_progress_and_then_answers(visit, own_page, publisher):
    tab = visit(own_page.url)
    pick(tab, 0)
    tab.locator(".mw-card").first.wait_for()
    button = tab.locator("#mw-fetch")
    expect(button).to_be_hidden()
    choose_model(tab, "Later (no memory yet)")
    expect(tab.locator("#mw-result")).to_contain_text("has no memory yet")
    expect(tab.locator("#mw-model-note")).to_contain_text("CIFAR-10, which is not on this server")

    publisher.online = False
    expect(button).to_have_text("Download CIFAR-10 (about 170 MB)")
    button.click()
    note = tab.locator("#mw-model-note").get_by_role("alert")
    expect(note).to_contain_text("CIFAR-10 could not be downloaded: check that this server is on")

    publisher.online = True
    button.click()
    expect(tab.locator("#mw-model-note")).to_contain_text(re.compile(r"4[89]\.\d%"))
    expect(note).to_have_count(0)
    expect(button).to_be_disabled()
    publisher.go_on.set()
    expect(tab.locator(".mw-card").first).to_be_visible()
    expect(button).to_be_hidden()
    expect(tab.locator("#mw-model input")).to_have_value("Later")
    tab.locator("details.mw-exact").wait_for()
    assert own_page.models.describe()[1]["available"] is True
