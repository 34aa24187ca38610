"""From a mask to a picture: surfaces, inks, relief and light, then the camera; or a screenshot."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from memorywrap.data.digits.rows import CANVAS

SIZE = 32  # side of a rendered image

# Surfaces and inks of houses, 0..1 (red, green, blue), with how often each is taken.
_PALETTE = (
    (5, (0.93, 0.93, 0.91)),  # white
    (4, (0.72, 0.72, 0.73)),  # light grey
    (4, (0.47, 0.47, 0.49)),  # grey
    (4, (0.22, 0.22, 0.25)),  # dark grey
    (5, (0.06, 0.06, 0.08)),  # black
    (4, (0.12, 0.18, 0.48)),  # enamel blue
    (1, (0.10, 0.45, 0.80)),  # bright blue
    (2, (0.55, 0.62, 0.75)),  # pale blue
    (2, (0.55, 0.27, 0.22)),  # brick
    (3, (0.42, 0.31, 0.20)),  # wood
    (3, (0.80, 0.72, 0.60)),  # sandstone
    (2, (0.74, 0.60, 0.30)),  # brass
    (1, (0.15, 0.35, 0.22)),  # green
    (1, (0.68, 0.12, 0.16)),  # red
    (1, (0.90, 0.80, 0.25)),  # yellow
)
_CHANCES = np.cumsum([chance for chance, _ in _PALETTE]) / sum(chance for chance, _ in _PALETTE)
_COLOURS = np.array([colour for _, colour in _PALETTE], np.float32)
_LEVELS = np.arange(256)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_CAST = np.array([-0.02, 0, 0.02], np.float32)  # street view is bluish
_Y, _X = np.mgrid[-1 : 1 : CANVAS * 1j, -1 : 1 : CANVAS * 1j].astype(np.float32)[..., None]


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """A colour (3,), 0..1."""
    colour = _COLOURS[np.searchsorted(_CHANCES, rng.random())]
    noise = rng.normal(0, 0.07) + 0.03 * rng.standard_normal(3, np.float32)
    return np.clip(colour + noise, 0, 1)


def two_colours(rng: np.random.Generator, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Two colours (3,) whose brightness differs by at least that much, of 1."""
    first, second = any_colour(rng), any_colour(rng)
    for _ in range(20):
        if abs((first - second) @ _LUMA) >= least:
            break
        second = any_colour(rng)
    return first, second


def _cloud(rng: np.random.Generator, cells: tuple[int, int]) -> np.ndarray:
    """Smooth noise (64, 64, 1) about 0 with values up to 1; `cells` (x, y) sets how fine."""
    noise = Image.fromarray(rng.integers(0, 256, cells[::-1], dtype=np.uint8))
    noise = noise.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    return (np.asarray(noise, np.float32)[..., None] - 128) / 128


def _ramp(rng: np.random.Generator, sharpness: float) -> np.ndarray:
    """A straight edge (64, 64, 1) from -1 to 1 somewhere in the picture; low sharpness: a gradient."""
    angle = rng.uniform(0, 2 * math.pi)
    across = sharpness * math.cos(angle) * _X[:1] + sharpness * math.sin(angle) * _Y[:, :1]
    return np.tanh(across - sharpness * rng.uniform(-1, 1))


def _coverage(mask: Image.Image) -> np.ndarray:
    """(64, 64, 1), 0..1."""
    return np.asarray(mask, np.float32)[..., None] / 255


def _reweight(mask: Image.Image, blur: float, threshold: float) -> Image.Image:
    """Bolder (threshold below a half) or thinner strokes with rounder corners."""
    table = np.clip((_LEVELS - threshold * 255) * 4 + 128, 0, 255).astype(np.uint8)
    return Image.fromarray(table[np.asarray(mask.filter(ImageFilter.GaussianBlur(blur)))])


def _surface(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """What the digits stand on (64, 64, 3): texture, plate edges, boards, brick courses."""
    scene = colour * (1 + rng.uniform(0, 0.25) * _cloud(rng, (4, 4)))
    if rng.random() < 0.4:
        fine = int(rng.integers(8, 40))
        stretched = (fine, 4) if rng.random() < 0.3 else (fine, fine)
        scene = scene * (1 + rng.uniform(0.02, 0.2) * _cloud(rng, stretched))
    for _ in range(rng.integers(0, 4)):  # whatever is beside the plate
        if rng.random() < 0.35:
            edge = rng.uniform(0.1, 0.5) * (1 + _ramp(rng, rng.uniform(8, 60)))
            scene = scene + (any_colour(rng) - scene) * edge
        else:  # a bar or a frame parallel to the border
            axis = _X if rng.random() < 0.5 else _Y
            middle = rng.choice([-1, 1]) * rng.uniform(0.7, 1.05)
            bar = np.abs(axis + rng.normal(0, 0.05) * (_X + _Y) - middle) < rng.uniform(0.02, 0.15)
            scene = scene + rng.uniform(0.3, 1) * (any_colour(rng) - scene) * bar
    if rng.random() < 0.08:  # boards, courses, blinds
        axis = _Y if rng.random() < 0.7 else _X
        waves = np.sin(axis * rng.uniform(6, 30) + rng.uniform(0, 6))
        scene = scene * (1 - rng.uniform(0.05, 0.3) * (waves > rng.uniform(0.3, 0.95)))
    return scene


def paint(rng: np.random.Generator, mask: Image.Image) -> np.ndarray:
    """The scene before the camera: linear-ish colours (64, 64, 3), about 0..1."""
    if rng.random() < 0.5:
        mask = _reweight(mask, rng.uniform(0.5, 2.2), rng.uniform(0.2, 0.55))
    paper, ink = two_colours(rng, 0.25)
    scene = _surface(rng, paper)
    digit = _coverage(mask)
    style = rng.random()
    right, down = rng.uniform(-4, 4, 2).tolist()
    if style < 0.3:  # a shadow beside or below raised digits
        shadow = mask.transform(
            mask.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down)
        ).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 2.5)))
        scene = scene * (1 - rng.uniform(0.2, 0.8) * _coverage(shadow))
    elif style < 0.42:  # an outline in a third colour
        outline = _coverage(_reweight(mask, rng.uniform(1.5, 3), rng.uniform(0.08, 0.2)))
        scene = scene + (any_colour(rng) - scene) * outline
    ink_scene = ink * (1 + rng.uniform(0, 0.35) * _ramp(rng, rng.uniform(0.3, 3)))
    if style > 0.95:  # only the contour is painted
        inner = _coverage(_reweight(mask, rng.uniform(1, 2), rng.uniform(0.7, 0.9)))
        digit = np.clip(digit - inner, 0, 1)
    elif style > 0.85:  # embossed or cut in: one flank lit, the other dark
        soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.2)), np.float32) / 255
        slope_down, slope_right = np.gradient(soft)
        relief = (slope_right * right + slope_down * down)[..., None]
        ink_scene = ink_scene + rng.uniform(0.2, 0.8) * relief
        digit = digit * rng.uniform(0.3, 1)
    if rng.random() < 0.15:  # worn paint, dirt, glare
        digit = digit * np.clip(1.2 + rng.uniform(0.3, 1) * _cloud(rng, (6, 6)), 0, 1)
    scene = scene + (ink_scene - scene) * digit
    if rng.random() < 0.12:  # a twig, a wire, a crack
        scene = scene + (any_colour(rng) - scene) * (1 - np.abs(_ramp(rng, 15))) * rng.uniform(
            0.3, 1
        )
    return _light(rng, scene)


def _light(rng: np.random.Generator, scene: np.ndarray) -> np.ndarray:
    """Uneven light, a colour cast, and the brightness and contrast that photographs have."""
    scene = scene * (1 + rng.uniform(0, 0.4) * _ramp(rng, rng.uniform(0.3, 1)))
    if rng.random() < 0.12:  # the edge of a shadow
        scene = scene * (1 - rng.uniform(0.1, 0.4) * (0.5 + 0.5 * _ramp(rng, rng.uniform(3, 30))))
    # Brightness, spread and colour as street view photographs have them, not left to chance.
    grey = scene @ _LUMA
    spread = min(max(0.145 * math.exp(rng.normal(0, 0.37)), 0.06), 0.32)
    gain = spread / (float(grey.std()) + 0.02)
    level = min(max(rng.normal(0.45, 0.16), 0.12), 0.85)
    chroma = scene - grey[..., None]
    strength = float(np.abs(chroma).mean()) * gain
    chroma *= gain * rng.uniform(0.2, 1) * min(1, rng.uniform(0.02, 0.09) / (strength + 1e-3))
    tint = 0.02 * rng.standard_normal(3, np.float32) + _CAST
    patches = 0.02 * _cloud(rng, (5, 5)) * rng.standard_normal(3, np.float32)
    return chroma + ((grey - grey.mean()) * gain + level)[..., None] + (tint + patches)


def photograph(rng: np.random.Generator, scene: np.ndarray) -> Image.Image:
    """The scene (64, 64, 3) through a camera: RGB (32, 32)."""
    image = Image.fromarray((np.clip(scene, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.2:  # the car moves, mostly along the street
        reach, angle = (
            rng.uniform(1, 3),
            rng.normal(0, 0.3) if rng.random() < 0.7 else rng.uniform(0, 3),
        )
        for part in (reach, reach / 2):  # two copies of two copies: close to an even smear
            shift = (1, 0, part * math.cos(angle), 0, 1, part * math.sin(angle))
            moved = image.transform(image.size, Image.Transform.AFFINE, shift, _BILINEAR)
            image = Image.blend(image, moved, 0.5)
    image = image.filter(ImageFilter.GaussianBlur(abs(rng.normal(0, 1.3))))
    if rng.random() < 0.7:  # lenses bend red and blue apart
        red, green, blue = image.split()
        right, down = rng.normal(0, 0.8, 2)
        red = ImageChops.offset(red, round(right), round(down))
        blue = ImageChops.offset(blue, -round(right), -round(down))
        image = Image.merge("RGB", (red, green, blue))
    # House numbers are often a dozen pixels high before they are enlarged to the input's size.
    side = int(np.clip(np.exp(rng.normal(np.log(21), 0.33)), 10, 48))
    image = image.resize((side, side), Image.Resampling.BOX)
    if rng.random() < 0.4:
        pixels = np.asarray(image, np.float32)
        noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, 5)
        image = Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:  # cameras sharpen, which leaves bright seams along edges
        image = image.filter(
            ImageFilter.UnsharpMask(rng.uniform(0.8, 2), int(rng.uniform(50, 200)), 0)
        )
    if rng.random() < 0.7:
        image = _jpeg(image, int(rng.uniform(30, 95)))
    return image.resize((SIZE, SIZE), rng.choice(_RESAMPLING))


_BILINEAR = Image.Resampling.BILINEAR
_RESAMPLING = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def screenshot(rng: np.random.Generator, mask: Image.Image) -> Image.Image:
    """A mask of any size in two plain colours: RGB (32, 32)."""
    paper, ink = two_colours(rng, 0.3)
    kind = rng.random()
    if kind < 0.6:  # black on white and nearly so, the rule on screens, or the other way round
        paper, ink = (
            1 - rng.uniform(0, 0.1, 3) * (kind < 0.2),
            rng.uniform(0, 0.25, 3) * (kind > 0.3),
        )
        if kind < 0.15 or kind > 0.5:
            paper, ink = ink, paper
    small = mask.resize((SIZE, SIZE), rng.choice(_RESAMPLING))
    digit = np.asarray(small, np.float32)[..., None] / 255
    pixels = (paper + (ink - paper) * digit) * 255
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return _jpeg(image, int(rng.uniform(50, 95))) if rng.random() < 0.2 else image


def legibility(picture: Image.Image, mask: Image.Image) -> float:
    """How far a picture shows what the mask says: 0 not at all, 1 perfectly, either polarity.

    The correlation with the digits, or with their contours where only those are to be seen, in the
    band of frequencies that strokes live in: light and shade are coarser, noise is finer.
    """
    meant = mask.resize((SIZE, SIZE), Image.Resampling.BOX)
    contour = ImageChops.difference(
        meant.filter(ImageFilter.MaxFilter(3)), meant.filter(ImageFilter.MinFilter(3))
    )
    shown = _strokes_band(picture.convert("L"))
    return max(abs(float((shown * _strokes_band(part)).mean())) for part in (meant, contour))


def _strokes_band(image: Image.Image) -> np.ndarray:
    """(32, 32) with mean 0 and variance 1."""
    fine, coarse = (
        np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)
        for radius in (0.5, 2.5)
    )
    band = fine - coarse
    band -= band.mean()
    return band / (band.std() + 1e-6)
