"""The one palette, for light and dark, and how it is put into a figure."""

from __future__ import annotations

from typing import Any

# Up and down differ in lightness as well as hue, so they stay apart without colour vision.
# Every ink reads at 4.5 : 1 or more on its background (tests/test_charts.py computes it).
PALETTE: dict[str, dict[str, str]] = {
    "light": {
        "background": "#ffffff",
        "ink": "#18212b",
        "cell_ink": "#000000",
        "muted": "#5a6673",
        "grid": "#e9edf1",
        "line": "#c9d1d9",
        "leg_x": "#1f5fbf",
        "leg_y": "#8f5a00",
        "spread": "#6b46c1",
        "up": "#00594f",
        "up_fill": "#7fc4b8",
        "down": "#c93a22",
        "down_fill": "#c93a22",
        "buy": "#4fa598",
        "sell": "#e39c8b",
        "threshold": "#5a6673",
        "stale": "#9aa5b1",
        "in_sample": "#b3321c",
        "corr": "#2b6470",
        "band": "#8a6ad6",
    },
    "dark": {
        "background": "#0d1219",
        "ink": "#e8edf3",
        "cell_ink": "#ffffff",
        "muted": "#98a5b3",
        "grid": "#1a232e",
        "line": "#344150",
        "leg_x": "#76aefc",
        "leg_y": "#f0b444",
        "spread": "#bca4ff",
        "up": "#5fe3c7",
        "up_fill": "#12564b",
        "down": "#f0654b",
        "down_fill": "#f0654b",
        "buy": "#2c8f7f",
        "sell": "#a34a3b",
        "threshold": "#98a5b3",
        "stale": "#5c6976",
        "in_sample": "#ff8a73",
        "corr": "#8fc3cf",
        "band": "#9a80e8",
    },
}


def themed(spec: Any, theme: str) -> Any:
    """Return the specification with its palette tokens replaced, for use outside the browser.

    ``theme`` is ``light`` or ``dark``.
    """
    if isinstance(spec, str):
        return PALETTE[theme].get(spec[1:], spec) if spec.startswith("$") else spec
    if isinstance(spec, dict):
        return {key: themed(value, theme) for key, value in spec.items()}
    if isinstance(spec, list | tuple):
        return [themed(value, theme) for value in spec]
    return spec
