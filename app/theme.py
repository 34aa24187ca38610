"""Fonts and colours. What the colours of the evidence are is settled once, in the library."""

from __future__ import annotations

import gradio as gr

from memorywrap.explanation.figures import OPPOSE, SUPPORT, Colour

_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
# What lies behind text in either scheme, at its least favourable.
_LIGHT, _DARK = (241, 245, 249), (30, 41, 59)
_TEXT, _BAR = 4.6, 3.1  # contrast that WCAG asks of text and of graphics, and a little more


def theme() -> gr.themes.Base:
    """Gradio's theme tokens."""
    theme = gr.themes.Base(
        primary_hue="blue", neutral_hue="slate", radius_size="md", font=_FONTS, font_mono=_MONO
    )
    # Gradio's own choices are too pale for text: at least 4.5 to 1 against what is behind.
    return theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
    )


def colour_properties() -> str:
    """Custom properties of the style sheet: the colours of the maps, and shades of them that can be
    read as text and seen as bars in either scheme."""
    light, dark = [], []
    for name, side in (("supports", SUPPORT), ("opposes", OPPOSE)):
        light.append(f"--mw-{name}-map: {_css(side.rgb)};")
        for kind, contrast in (("", _TEXT), ("-bar", _BAR)):
            light.append(f"--mw-{name}{kind}: {_css(shade(side.rgb, _LIGHT, contrast))};")
            dark.append(f"--mw-{name}{kind}: {_css(shade(side.rgb, _DARK, contrast))};")
    return f":root {{ {' '.join(light)} }}\n.dark {{ {' '.join(dark)} }}\n"


def shade(colour: Colour, behind: Colour, contrast: float) -> Colour:
    """The colour, mixed with as little black or white as gives a contrast with what is behind it."""
    towards = 0 if _luminance(behind) > 0.18 else 255
    for percent in range(101):
        mixed = _mixed(colour, towards, percent / 100)
        darker, lighter = sorted((_luminance(mixed), _luminance(behind)))
        if (lighter + 0.05) / (darker + 0.05) >= contrast:
            break
    return mixed


def _mixed(colour: Colour, towards: int, part: float) -> Colour:
    red, green, blue = (round(value + (towards - value) * part) for value in colour)
    return (red, green, blue)


def _luminance(colour: Colour) -> float:
    """Relative luminance as WCAG 2 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _css(colour: Colour) -> str:
    return "rgb({} {} {})".format(*colour)
