"""Digits drawn by hand with a mouse, as the points the pointer passed; nothing of the renderer.

Each drawing is a list of strokes on a pad of 400 x 400 pixels; a stroke is a list of (x, y).
"""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image, ImageDraw

Stroke = list[tuple[int, int]]

PAD = 400


class Drawing(NamedTuple):
    """A drawn digit with the pen it was drawn with."""

    digit: str
    strokes: list[Stroke]
    width: int = 18
    ink: str = "black"
    paper: str = "white"

    def image(self) -> Image.Image:
        """The pad as the page sends it: round pen, no smoothing beyond that."""
        pad = Image.new("RGB", (PAD, PAD), self.paper)
        pen = ImageDraw.Draw(pad)
        for stroke in self.strokes:
            pen.line(stroke, fill=self.ink, width=self.width, joint="curve")
            for x, y in stroke:
                r = self.width / 2
                pen.ellipse((x - r, y - r, x + r, y + r), fill=self.ink)
        return pad


# fmt: off
DRAWINGS = [
    Drawing("0", [[(212, 68), (176, 74), (147, 102), (128, 148), (121, 201), (127, 258), (146, 304),
                   (178, 331), (214, 335), (249, 316), (273, 274), (283, 222), (281, 166), (266, 115),
                   (243, 82), (209, 66)]]),
    Drawing("1", [[(163, 128), (187, 103), (208, 76), (211, 120), (209, 190), (207, 262), (209, 330)]],
            width=22),
    Drawing("1", [[(204, 62), (203, 130), (199, 205), (198, 280), (196, 341)]], width=14),
    Drawing("2", [[(131, 137), (142, 98), (177, 74), (221, 75), (254, 101), (259, 144), (237, 190),
                   (200, 235), (158, 283), (128, 323), (180, 321), (235, 324), (281, 318)]]),
    Drawing("3", [[(133, 104), (164, 77), (207, 70), (246, 88), (256, 126), (236, 163), (196, 187),
                   (235, 196), (268, 228), (273, 273), (248, 313), (203, 331), (158, 323), (126, 296)]],
            ink="white", paper="black"),
    Drawing("4", [[(219, 66), (186, 122), (152, 177), (118, 233), (175, 236), (236, 233), (291, 235)],
                  [(239, 151), (237, 214), (238, 276), (235, 343)]]),
    Drawing("5", [[(266, 76), (209, 78), (152, 80), (147, 127), (141, 175), (181, 160), (226, 164),
                   (261, 192), (274, 238), (262, 287), (227, 321), (179, 330), (131, 311)]], width=20),
    Drawing("6", [[(242, 70), (201, 103), (166, 152), (145, 208), (140, 262), (157, 309), (195, 333),
                   (236, 324), (262, 289), (260, 248), (231, 219), (190, 220), (157, 247), (143, 279)]],
            ink="#1d4ed8"),
    Drawing("7", [[(118, 82), (173, 80), (228, 83), (285, 78), (257, 137), (229, 199), (205, 263),
                   (188, 335)]]),
    Drawing("7", [[(121, 92), (180, 87), (276, 84), (248, 150), (217, 224), (189, 331)],
                  [(165, 209), (215, 204), (266, 207)]], width=16, ink="yellow", paper="#222222"),
    Drawing("8", [[(248, 102), (214, 74), (171, 78), (149, 112), (165, 152), (206, 184), (246, 221),
                   (261, 267), (243, 312), (201, 333), (158, 319), (137, 278), (150, 234), (187, 197),
                   (229, 163), (252, 126), (246, 99)]]),
    Drawing("9", [[(262, 121), (233, 85), (190, 80), (157, 108), (148, 153), (168, 191), (209, 198),
                   (246, 173), (263, 124), (262, 184), (256, 246), (243, 337)]], width=20),
    # Small, away from the middle, with a thin pen: what a careful person draws on a large pad.
    Drawing("3", [[(226, 217), (241, 205), (262, 204), (277, 215), (275, 234), (254, 247), (276, 254),
                   (286, 274), (275, 296), (250, 304), (228, 295)]], width=8),
    Drawing("5", [[(150, 110), (113, 112), (109, 142), (106, 170), (130, 161), (153, 170), (163, 193),
                   (152, 219), (127, 229), (102, 220)]], width=9),
]
# fmt: on
