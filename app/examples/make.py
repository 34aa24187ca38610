"""Draws the example pictures beside this file: `python app/examples/make.py`.

They are this project's own: drawn with Pillow, its built-in font, and the renderer of the embedded
data set. No photograph is used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

_HERE = Path(__file__).parent
Colour = tuple[int, int, int]

# Two strokes, as a four is written; the first one nearly comes back to the second, as in a nine.
_FOUR_OR_NINE = (
    [(148, 60), (112, 92), (102, 136), (128, 164), (188, 152)],
    [(192, 56), (190, 140), (184, 252)],
)
# A three whose left side is nearly closed, a seven whose bar is nearly gone, and what is no digit.
_THREE_OR_EIGHT = [
    [(70, 70), (150, 45), (185, 90), (120, 125), (195, 165), (150, 215), (65, 195)],
    [(70, 70), (91, 108)],
    [(65, 195), (79, 167)],
]
_SEVEN_OR_ONE = [[(95, 86), (130, 72), (165, 58)], [(165, 58), (150, 130), (128, 215)]]
_HEART = [
    [(128, 90), (105, 55), (60, 65), (55, 115), (85, 165), (128, 215)],
    [(128, 90), (151, 55), (196, 65), (201, 115), (171, 165), (128, 215)],
]


def main() -> None:
    """Write all examples."""
    rng = np.random.default_rng(7)
    pictures = {
        "1-house-number-590-on-a-brick-wall": house_number(rng, "590"),
        "2-brass-five-on-a-door": brass(np.random.default_rng(0), "5"),
        "3-drawn-three-that-is-nearly-an-eight": drawn(_THREE_OR_EIGHT),
        "4-chalk-four-or-nine-on-a-board": chalk(rng),
        "5-drawn-one-that-was-a-seven": drawn(_SEVEN_OR_ONE),
        "6-screenshot-of-a-page-number": screenshot(),
        "7-small-and-blurred-four": blurred(rng, "4"),
        "8-drawn-heart": drawn(_HEART),
    }
    for name, picture in pictures.items():
        quantised = picture.quantize(200, dither=Image.Dither.FLOYDSTEINBERG)
        quantised.save(_HERE / f"{name}.png", optimize=True)


def house_number(rng: np.random.Generator, digits: str) -> Image.Image:
    """An enamel plate on bricks, seen a little from the side."""
    wall = bricks(rng, 560, 400)
    plate = Image.new("RGBA", (360, 220), (0, 0, 0, 0))
    draw = ImageDraw.Draw(plate)
    draw.rounded_rectangle(
        (4, 4, 355, 215), 20, fill=(232, 234, 230), outline=(150, 152, 150), width=2
    )
    draw.rounded_rectangle((16, 16, 343, 203), 12, fill=(24, 58, 122))
    draw.text((180, 108), digits, (240, 241, 236), _font(170), anchor="mm", stroke_width=4)
    for x, y in ((30, 30), (330, 30), (30, 190), (330, 190)):
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=(190, 192, 190), outline=(80, 80, 84))
    corners = [(104, 96), (452, 70), (446, 312), (110, 300)]
    plate = _seen(plate, wall.size, corners)
    shadow = Image.new("RGBA", wall.size, (15, 10, 8, 0))
    shadow.putalpha(plate.getchannel("A").point(lambda value: value * 0.55))
    shadow = ImageChops.offset(shadow, 7, 10).filter(ImageFilter.GaussianBlur(7))
    wall = Image.alpha_composite(Image.alpha_composite(wall.convert("RGBA"), shadow), plate)
    return _photographed(rng, wall.convert("RGB"), blur=0.8, noise=5, light=0.35)


def bricks(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """A wall of bricks."""
    wall = Image.new("RGB", (width, height), (176, 166, 152))
    draw = ImageDraw.Draw(wall)
    for row in range(-1, height // 40 + 1):
        for column in range(-1, width // 92 + 1):
            left, top = column * 92 + (row % 2) * 46, row * 40
            colour = np.array((150, 78, 58)) + rng.integers(-22, 22) + rng.integers(-9, 9, 3)
            draw.rounded_rectangle((left, top, left + 85, top + 34), 3, fill=_colour(colour))
    return Image.blend(wall, _speckle(rng, wall.size), 0.12)


def brass(rng: np.random.Generator, digit: str) -> Image.Image:
    """A metal digit screwed to a painted door."""
    grain = np.cumsum(rng.normal(0, 1, (1, 320)), axis=1)
    grain = (grain - grain.mean()) / grain.std()
    door = (
        np.array((46, 84, 66))[None, None] + 5 * grain[..., None] + rng.normal(0, 3, (420, 320, 1))
    )
    image = Image.fromarray(np.clip(door, 0, 255).astype(np.uint8))
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).text((160, 205), digit, 255, _font(290), anchor="mm", stroke_width=5)
    image.paste(
        (12, 22, 18),
        mask=ImageChops.offset(mask, 9, 12)
        .filter(ImageFilter.GaussianBlur(7))
        .point(lambda v: v * 0.7),
    )
    shine = np.linspace(0, 3 * np.pi, 420)[:, None] + np.linspace(0, 2, 320)[None]
    metal = np.array((196, 158, 84))[None, None] + 38 * np.sin(shine)[..., None]
    image.paste(Image.fromarray(np.clip(metal, 0, 255).astype(np.uint8)), mask=mask)
    edge = ImageChops.subtract(mask, ImageChops.offset(mask, 2, 2))
    image.paste((250, 228, 170), mask=edge.filter(ImageFilter.GaussianBlur(0.8)))
    return _photographed(rng, image, blur=0.9, noise=6, light=0.4)


def drawn(strokes: list[list[tuple[int, int]]]) -> Image.Image:
    """Pen strokes as they leave the page's drawing pad."""
    image = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        for x, y in _curve(np.array(stroke, dtype=float) * 4):
            draw.ellipse((x - 36, y - 36, x + 36, y + 36), fill=(22, 24, 29))
    return image.resize((256, 256), Image.Resampling.LANCZOS)


def chalk(rng: np.random.Generator) -> Image.Image:
    """A four whose top is nearly closed, in chalk, with the smear of what was wiped away."""
    board = Image.new("RGB", (300, 300), (38, 58, 50))
    smear = _speckle(rng, (300, 300)).convert("L").resize((300, 12)).resize((300, 300))
    board.paste(
        (120, 138, 130), mask=smear.filter(ImageFilter.GaussianBlur(9)).point(lambda v: v * 0.25)
    )
    mask = Image.new("L", board.size)
    draw = ImageDraw.Draw(mask)
    for points in _FOUR_OR_NINE:
        for x, y in _curve(np.array(points, dtype=float)):
            draw.ellipse((x - 10, y - 10, x + 10, y + 10), fill=235)
    dust = Image.fromarray((rng.random((300, 300)) > 0.22).astype(np.uint8) * 255)
    mask = ImageChops.multiply(mask, dust.filter(ImageFilter.GaussianBlur(0.6)))
    board.paste((236, 236, 228), mask=mask)
    return _photographed(rng, board, blur=0.5, noise=4, light=0.25)


def screenshot() -> Image.Image:
    """A pager of a web page; the eight is the current page."""
    image = Image.new("RGB", (252, 96), (250, 251, 253))
    draw = ImageDraw.Draw(image)
    for place, digit in enumerate("789"):
        left, current = 22 + place * 74, digit == "8"
        fill, ink = ((37, 99, 235), "white") if current else ((255, 255, 255), (51, 65, 85))
        draw.rounded_rectangle(
            (left, 18, left + 60, 78), 10, fill=fill, outline=(203, 213, 225), width=2
        )
        draw.text((left + 30, 48), digit, ink, _font(36), anchor="mm")
    return image


def blurred(rng: np.random.Generator, digit: str) -> Image.Image:
    """Few pixels, little contrast: what a street camera gives."""
    image = Image.new("RGB", (192, 192), (128, 116, 102))
    ImageDraw.Draw(image).text(
        (98, 96), digit, (206, 198, 184), _font(170), anchor="mm", stroke_width=5
    )
    small = image.rotate(5, fillcolor=(128, 116, 102)).filter(ImageFilter.GaussianBlur(5))
    return _photographed(
        rng, small.resize((48, 48), Image.Resampling.BOX), blur=0, noise=5, light=0.4
    )


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(values, 0, 255).astype(int).tolist()
    return red, green, blue


def _curve(points: np.ndarray, steps: int = 90) -> np.ndarray:
    """A smooth line (Catmull-Rom) through the points."""
    ends = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    at = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        cubic = (-a + 3 * b - 3 * c + d) * at**3 + (2 * a - 5 * b + 4 * c - d) * at**2
        parts.append((cubic + (c - a) * at + 2 * b) / 2)
    return np.concatenate(parts)


def _seen(image: Image.Image, size: tuple[int, int], corners: list[tuple[int, int]]) -> Image.Image:
    """The image with its corners (clockwise from the upper left) at these places."""
    width, height = image.size
    rows, values = [], []
    for (x, y), (u, v) in zip(
        corners, [(0, 0), (width, 0), (width, height), (0, height)], strict=True
    ):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solution = np.linalg.solve(np.array(rows, dtype=float), np.array(values, dtype=float))
    return image.transform(
        size, Image.Transform.PERSPECTIVE, solution.tolist(), Image.Resampling.BICUBIC
    )


def _speckle(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    small = rng.integers(0, 255, (size[1] // 3, size[0] // 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _photographed(
    rng: np.random.Generator, image: Image.Image, blur: float, noise: float, light: float
) -> Image.Image:
    """Uneven light, a lens and a sensor."""
    scene = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), dtype=float)
    height, width = scene.shape[:2]
    slope = np.linspace(1 + light / 2, 1 - light / 2, width)[None, :, None]
    slope = slope * np.linspace(1 + light / 3, 1 - light / 3, height)[:, None, None]
    scene = scene * slope + rng.normal(0, noise, (height, width, 1))
    return Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
