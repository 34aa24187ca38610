"""What memory does in the long run: python -m bench.soak [--requests 20000]

Starts the page on this machine and sends it requests of all kinds in turn, from eight visitors at once; after
every tenth of them the memory of its process is printed, beside what it was after the first thousand.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import time

import httpx
from PIL import Image

from bench.started import ROOT, Page, started

_AT_ONCE = 8
_FIRST = 1000  # requests after which everything has been loaded and used
# How often each is asked, of 100: most people look at answers, some at maps.
_SHARES = {"classify": 62, "photograph": 10, "explain": 6, "whatif": 12, "bad": 5, "upload": 5}


def main() -> None:
    """Reads the arguments, asks, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=7992)
    options = parser.parse_args()
    with started(options.port) as page:
        print(f"{page.memory():.0f} MB when it is ready")
        asyncio.run(_soak(page, options.requests))


async def _soak(page: Page, requests: int) -> None:
    chance = random.Random(0)
    kinds = chance.choices(list(_SHARES), list(_SHARES.values()), k=requests)
    pictures = _pictures()
    todo, begun, first = iter(range(requests)), time.monotonic(), 0.0
    marks = {_FIRST, *range(requests // 10, requests + 1, max(1, requests // 10))}
    done = 0

    async def visitor() -> None:
        nonlocal done, first
        async with httpx.AsyncClient(base_url=page.url, timeout=120, verify=False) as client:
            for number in todo:
                await _ask(client, kinds[number], pictures, random.Random(number))
                done += 1
                if done in marks:
                    memory = page.memory()
                    first = first or (memory if done >= _FIRST else 0.0)
                    change = f"{100 * (memory / first - 1):+.1f} %" if first else ""
                    taken = time.monotonic() - begun
                    print(
                        f"{done:7,} requests, {taken:5.0f} s: {memory:5.0f} MB {change}", flush=True
                    )

    await asyncio.gather(*(visitor() for _ in range(_AT_ONCE)))


async def _ask(
    client: httpx.AsyncClient, kind: str, pictures: dict[str, list[bytes]], chance: random.Random
) -> None:
    picture = chance.choice(pictures["photograph" if kind == "photograph" else "crop"])
    if kind == "bad":
        cut = picture[: chance.randrange(len(picture))]
        answer = await client.post("/v1/classify", content=cut)
        assert answer.status_code in (200, 400), answer.text
        return
    if kind == "upload":  # as the page does, and nobody takes it away again
        answer = await client.post("/gradio_api/upload", files={"files": ("a.png", picture)})
    elif kind == "whatif":
        edits = json.dumps([{"remove": chance.randrange(100)}])
        answer = await client.post(
            "/v1/whatif", files={"image": ("a.png", picture)}, data={"edits": edits}
        )
    else:
        endpoint = "explain" if kind == "explain" else "classify"
        answer = await client.post(f"/v1/{endpoint}", content=picture)
    answer.raise_for_status()


def _pictures() -> dict[str, list[bytes]]:
    """The page's examples as the model sees them, and as photographs of several sizes."""
    found: dict[str, list[bytes]] = {"crop": [], "photograph": []}
    for path in sorted((ROOT / "app/examples").glob("*.png")):
        with Image.open(path) as image:
            for what, side, format in (("crop", 32, "PNG"), ("photograph", 0, "JPEG")):
                width = side or 800 + 200 * len(found[what])
                file = io.BytesIO()
                image.convert("RGB").resize((width, side or width * 3 // 4)).save(file, format)
                found[what].append(file.getvalue())
    return found


if __name__ == "__main__":
    main()
