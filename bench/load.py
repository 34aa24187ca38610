"""What many visitors at once get: python -m bench.load [--visitors 30 100 300] [--seconds 20] ...

Starts the page on this machine, sends it requests from as many visitors as asked for, each of which thinks
for one to three seconds between its requests, and prints a table. Server and visitors share the processors.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import platform
import random
import sys
import time
from collections import Counter
from statistics import median, quantiles

import httpx
from PIL import Image

from bench.started import ROOT, Page, started
from memorywrap.devices import available_cores

_THINKING = (1.0, 3.0)  # seconds between two requests of a visitor
_LINE = "| {:>8} | {:<26} | {:>10} | {:>8} | {:>8} | {:>8} | {:>9} |"


def main() -> None:
    """Reads the arguments, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, nargs="+", default=[30, 100, 300], metavar="N")
    parser.add_argument("--seconds", type=float, default=20, help="of each row (default: 20)")
    parser.add_argument(
        "--what",
        nargs="+",
        default=["classify", "photo", "explain"],
        choices=["classify", "photo", "explain"],
    )
    parser.add_argument("--door", nargs="+", default=["v1"], choices=["v1", "gradio"])
    parser.add_argument(
        "--most", action="store_true", help="also the most per second, without thinking"
    )
    parser.add_argument("--port", type=int, default=7990)
    options = parser.parse_args()
    with started(options.port) as page:
        print(f"{platform.machine()}, {available_cores()} cores for server and load together\n")
        head = ("visitors", "what", "per second", "median s", "p95 s", "refused", "memory MB")
        print(_LINE.format(*head))
        print("|" + " ---: | --- |" + " ---: |" * 5)
        for door in options.door:
            for what in options.what:
                for visitors in options.visitors:
                    asyncio.run(_row(page, door, what, visitors, options.seconds, True))
                if options.most:
                    asyncio.run(_row(page, door, what, 64, options.seconds, False))


async def _row(
    page: Page, door: str, what: str, visitors: int, seconds: float, thinks: bool
) -> None:
    picture = _picture(what)
    times: list[float] = []
    statuses: Counter[str] = Counter()
    ask = _ask_v1 if door == "v1" else _ask_gradio
    end = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)

    async def visitor(number: int) -> None:
        chance = random.Random(number)
        await asyncio.sleep(chance.uniform(0, _THINKING[1]) if thinks else 0)
        # Nothing is encrypted here, and to read all authorities' certificates takes long.
        async with httpx.AsyncClient(
            base_url=page.url, timeout=120, limits=limits, verify=False
        ) as client:
            while time.monotonic() < end:
                begun = time.monotonic()
                try:
                    status = await ask(
                        client, "explain" if what == "explain" else "classify", picture
                    )
                except httpx.HTTPError as error:
                    status = type(error).__name__
                statuses[status] += 1
                if status == "ok":
                    times.append(time.monotonic() - begun)
                if thinks:
                    await asyncio.sleep(chance.uniform(*_THINKING))

    begun = time.monotonic()
    await asyncio.gather(*map(visitor, range(visitors)))
    taken = time.monotonic() - begun
    asked = sum(statuses.values())
    refused = f"{asked - len(times)} of {asked}"
    name = f"{what}, {door}" + ("" if thinks else ", without a pause")
    p95 = quantiles(times, n=20)[-1] if len(times) > 1 else float("nan")
    middle = median(times) if times else float("nan")
    cells = (
        visitors,
        name,
        f"{len(times) / taken:.1f}",
        f"{middle:.2f}",
        f"{p95:.2f}",
        refused,
        f"{page.memory():.0f}",
    )
    print(_LINE.format(*cells), flush=True)
    if len(statuses) > 1:
        print(f"  {dict(statuses)}", file=sys.stderr)


async def _ask_v1(client: httpx.AsyncClient, endpoint: str, picture: bytes) -> str:
    answer = await client.post(
        f"/v1/{endpoint}", content=picture, headers={"Content-Type": "image/png"}
    )
    return "ok" if answer.status_code == 200 else str(answer.status_code)


async def _ask_gradio(client: httpx.AsyncClient, endpoint: str, picture: bytes) -> str:
    files = {"files": ("image.png", picture, "image/png")}
    sent = await client.post("/gradio_api/upload", files=files)
    if sent.status_code != 200:
        return str(sent.status_code)
    data = [{"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}]
    called = await client.post(f"/gradio_api/call/{endpoint}", json={"data": data})
    if called.status_code != 200:
        return str(called.status_code)
    answer = await client.get(f"/gradio_api/call/{endpoint}/{called.json()['event_id']}")
    return "ok" if "event: complete" in answer.text else "error"


def _picture(what: str) -> bytes:
    """A crop as the model sees it, or a photograph of 1600 x 1200."""
    example = ROOT / "app/examples" / "2-brass-five-on-a-door.png"
    file = io.BytesIO()
    with Image.open(example) as image:
        if what == "photo":
            image.convert("RGB").resize((1600, 1200)).save(file, "JPEG", quality=90)
        else:
            image.resize((32, 32)).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
