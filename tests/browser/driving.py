"""What a person does with the page, in a few words."""

from __future__ import annotations

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def upload(tab, data: bytes, name: str = "photo.png", kind: str = "image/png") -> None:
    """Choose a file."""
    file = {"name": name, "mimeType": kind, "buffer": data}
    tab.locator("#mw-photo input[type=file]").set_input_files(file)


def pick(tab, number: int) -> None:
    """Click an example."""
    tab.locator(".mw-thumbs button").nth(number).click()


def choose_model(tab, title: str) -> None:
    """Choose a model from the list."""
    tab.locator("#mw-model input").click()
    tab.get_by_role("option", name=title).click()


def stroke(tab, *points: tuple[float, float]) -> None:
    """Draw with the mouse; points in parts of the pad."""
    area = tab.locator(".mw-paper canvas").bounding_box()
    places = [(area["x"] + x * area["width"], area["y"] + y * area["height"]) for x, y in points]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    for place in places[1:]:
        tab.mouse.move(*place, steps=4)
    tab.mouse.up()


def touches(tab, *points: tuple[float, float]) -> None:
    """Draw a finger over the screen; points in pixels of the viewport."""
    session = tab.context.new_cdp_session(tab)
    kinds = ["touchStart"] + ["touchMove"] * (len(points) - 1)
    for kind, (x, y) in zip(kinds, points, strict=True):
        finger = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
        session.send("Input.dispatchTouchEvent", finger)
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def pinch(tab, at: tuple[float, float], before: float, after: float) -> None:
    """Two fingers about a point move apart, or together; distances in pixels."""
    session, (x, y) = tab.context.new_cdp_session(tab), at
    for step in range(6):
        half = (before + (after - before) * step / 5) / 2
        fingers = [{"x": x - half, "y": y, "id": 0}, {"x": x + half, "y": y, "id": 1}]
        kind = "touchMove" if step else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def seen(tab) -> str:
    """What the model sees, as an address that changes with it."""
    return tab.locator(".mw-sees img").get_attribute("src")


def has_new_sight(tab, before: str) -> None:
    """Wait until the model sees something else."""
    tab.wait_for_function(
        "before => document.querySelector('.mw-sees img')?.getAttribute('src') !== before",
        arg=before,
    )


def no_sideways_scrolling(tab) -> None:
    """Nothing is wider than the screen."""
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
