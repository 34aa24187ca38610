"""The page below a path of another server, as many schools and companies have it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from driving import pick
from serving import serving

expect = pytest.importorskip("playwright.sync_api", reason="needs the package playwright").expect

_CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 11m; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location /wrap/ {{
      proxy_pass {page}/; proxy_http_version 1.1; proxy_buffering off;
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
}}
"""


@pytest.fixture
def address(page_checkpoints, tmp_path: Path, monkeypatch):
    """The page below /wrap/ of an nginx."""
    nginx = shutil.which(
        "nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin"
    )
    if nginx is None:
        pytest.skip("needs nginx: install it from your system's packages")
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/wrap")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(page_checkpoints) as page:
        local = f"http://127.0.0.1:{page.demo.server_port}"
        text = _CONFIGURATION.format(folder=tmp_path, port=port, page=local)
        (tmp_path / "nginx.conf").write_text(text)
        server = subprocess.Popen([nginx, "-c", str(tmp_path / "nginx.conf")])
        try:
            url = f"http://127.0.0.1:{port}/wrap/"
            for _ in range(100):
                try:
                    httpx.get(f"{url}healthz")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait()


def test_every_door_opens_below_a_path(address, visit, number_plate, encoded):
    answer = httpx.post(f"{address}v1/classify", content=encoded(number_plate), timeout=60)
    assert answer.status_code == 200
    tab = visit(address)
    wrong = []
    tab.on("response", lambda got: got.status >= 400 and wrong.append(got.url))
    pick(tab, 0)
    expect(tab.locator(".mw-card").first).to_be_visible()
    expect(tab.locator(".mw-panel img[alt^='Map of the']").first).to_be_visible()
    with tab.expect_download() as saved:
        tab.get_by_role("button", name="Save the numbers").click()
    assert saved.value.suggested_filename == "memory-wrap.json"
    assert wrong == []
