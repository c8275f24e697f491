"""Draw with matplotlib, and make of its file an element that belongs to the page it is put in.

There is no pyplot, so nothing global remains; ids and metadata are fixed, so that the same drawing gives the same
bytes. Colours become the CSS variables that the page defines for its light and its dark theme.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# The colours of report.css in its light theme. They remain as fallbacks, for an SVG that is copied out of the page.
INK, MUTED, LINE, CARD = "#1b1f24", "#59636e", "#d9dde2", "#ffffff"
TUNED, DEFAULT, VALIDATION = "#0072b2", "#d55e00", "#009e73"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", CARD: "card"}
_VARIABLES |= {TUNED: "tuned", DEFAULT: "default", VALIDATION: "validation"}

# In units of 1/72 inch that become the SVG's own: a phone shows them a little smaller, two columns a little larger.
WIDTH, HEIGHT = 380.0, 285.0

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "autorl",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.labelsize": 10.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def render(draw: Callable[[Axes], None]) -> str:
    """Return a drawing as a file of matplotlib's.

    Args:
        draw: draws on the axes, and labels in a legend what it wants there.
    """
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        # The browser's fonts show the text; that matplotlib's own lacks a glyph only makes its width a guess.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
        entries = len(axes.get_legend_handles_labels()[0])
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=max(entries, 1),
            columnspacing=1.2,
            handletextpad=0.4,
            borderpad=0.2,
        )
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def dots(axes: Axes, x: Sequence[float], y: Sequence[float], marker: str, colour: str, size: float, label: str) -> None:
    """Draw points with an edge in the colour of the page, so that those that overlap can be told apart.

    Args:
        axes: where.
        x: shape (n,).
        y: shape (n,).
        marker: matplotlib's name of their shape.
        colour: their colour.
        size: in points.
        label: in the legend; one that starts with `_` is left out.
    """
    axes.plot(x, y, marker, color=colour, markersize=size, markeredgecolor=CARD, markeredgewidth=0.6, label=label)


def embed(svg: str, name: str, alternative: str) -> str:
    """Turn a file of matplotlib's into an element of the page, with the page's font and colours.

    Args:
        svg: the file.
        name: goes before its ids, since two figures may give the same one to different things.
        alternative: what it shows, for those who cannot see it.
    """
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = svg[svg.index(">", svg.index("<svg")) + 1 :]
    svg = re.sub(r"font(-family)?: [^;\"]*;?", _font, svg)
    svg = svg.replace("xlink:href", "href").replace('id="', f'id="{name}').replace("url(#", f"url(#{name}")
    svg = svg.replace('href="#', f'href="#{name}')
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    label = escape(alternative)
    return f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{label}">{svg}'


def _font(match: re.Match[str]) -> str:
    """Keep a font's size and drop its family, so that the page's own font is used."""
    size = re.search(r"[\d.]+px", match[0])
    return f"font-size: {size[0]};" if size else ""
