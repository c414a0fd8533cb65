"""Charts as inline SVG: the same bytes for the same numbers, coloured by the page's style.

Every function gives one `<svg>` element without ids, links or fonts of its own. Its colours are
variables of CSS: `--ink`, `--grid`, `--series-1`, `--series-2` and, for heat maps, `--heat-0` for
nothing to `--heat-6` for most. Text that a user wrote is never drawn or measured: it takes the
place of a placeholder, escaped and shortened.
"""

from __future__ import annotations

import html
import io
import logging
import os
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 6
"""The steps of a heat map above nothing."""

_POINTS_PER_INCH = 72
_FONT_SIZE = 12
# A single column is as wide as one of a week.
_COLUMNS_ROOM = 7
# Drawn with these colours, which stand for variables of the page's style.
_INK, _GRID, _SERIES = "#010101", "#010102", ("#010103", "#010104")
_HEAT = tuple(f"#02020{level}" for level in range(LEVELS + 1))
_VARIABLES = {
    _INK: "--ink",
    _GRID: "--grid",
    _SERIES[0]: "--series-1",
    _SERIES[1]: "--series-2",
    **{colour: f"--heat-{level}" for level, colour in enumerate(_HEAT)},
}
_NAME = "name-{:04}"
_DRAWING = Lock()


@dataclass(frozen=True, slots=True)
class Scale:
    """The steps of a heat map: level 0 is nothing, level n what is above `step * (n - 1)`."""

    step: float

    @classmethod
    def of(cls, values: Iterable[float], least: float = 1) -> Scale:
        """The smallest round step from `least` up, a power of ten, that the values fit in."""
        most = max(values, default=0)
        while True:
            for digit in (1, 2, 5):
                if digit * least * LEVELS >= most:
                    return cls(digit * least)
            least *= 10

    def level(self, value: float) -> int:
        """The level of a value."""
        return next(level for level in range(LEVELS + 1) if value <= self.step * level)


def columns(
    label: str, values: Sequence[int], ticks: Sequence[tuple[int, str]], width: int, height: int
) -> str:
    """One column a value, above a line with `ticks`, which are pairs of a position and a text."""

    def draw(figure: Figure) -> None:
        axes = _axes(figure, width, height, left=46, right=22, top=10, bottom=22)
        middle, reach = (len(values) - 1) / 2, max(len(values), _COLUMNS_ROOM) / 2 + 0.1
        axes.set_xlim(middle - reach, middle + reach)
        _count_axis(axes, max(values, default=0))
        _rectangles(
            axes,
            [(position - 0.4, 0, 0.8, value) for position, value in enumerate(values) if value],
            _SERIES[0],
        )
        axes.set_xticks(
            [position for position, _ in ticks], [text for _, text in ticks], color=_INK
        )

    return _svg(label, width, height, draw)


def named_bars(
    label: str, rows: Sequence[tuple[str, Sequence[int]]], width: int, *, characters: int
) -> str:
    """Horizontal bars under their names: for each row one bar a series, with its number.

    A name has `characters` at most, and is cut there.
    """
    series = max((len(values) for _, values in rows), default=1)
    bar, name_height, gap = 11, 18, 9
    row_height = name_height + series * (bar + 2) + gap
    height = max(row_height * len(rows), 1)

    def draw(figure: Figure) -> None:
        axes = _axes(figure, width, height, left=0, right=0, top=0, bottom=0)
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        most = max((value for _, values in rows for value in values), default=0)
        room = width - 70
        bars: list[list[tuple[float, float, float, float]]] = [[] for _ in range(series)]
        for number, (_, values) in enumerate(rows):
            top = number * row_height
            axes.text(0, top + 13, _NAME.format(number), color=_INK, va="baseline")
            for place, value in enumerate(values):
                begin = top + name_height + place * (bar + 2)
                length = room * value / most if most else 0
                if value:
                    bars[place].append((0, begin, max(length, 1), bar))
                axes.text(
                    length + (6 if value else 0),
                    begin + bar - 1.5,
                    f"{value:,}",
                    color=_INK,
                    va="baseline",
                )
        for place, rectangles in enumerate(bars):
            _rectangles(axes, rectangles, _SERIES[place])

    names = {
        _NAME.format(number): shortened(name, characters) for number, (name, _) in enumerate(rows)
    }
    return _svg(label, width, height, draw, names)


def heat_map(
    label: str,
    rows: Sequence[tuple[str, Sequence[float | None]]],
    ticks: Sequence[tuple[int, str]],
    scale: Scale,
    width: int,
    *,
    row_height: int,
) -> str:
    """One coloured cell a value, in named rows of the same length; None is left empty."""
    bottom = 22
    height = row_height * len(rows) + bottom
    length = max((len(values) for _, values in rows), default=1)

    def draw(figure: Figure) -> None:
        axes = _axes(figure, width, height, left=38, right=1, top=1, bottom=bottom)
        axes.set_xlim(0, length)
        axes.set_ylim(len(rows), 0)
        axes.spines[:].set_visible(False)
        cells: dict[int, list[tuple[float, float, float, float]]] = {}
        for number, (_, values) in enumerate(rows):
            for position, value in enumerate(values):
                if value is not None:
                    cell = (position + 0.04, number + 0.04, 0.92, 0.92)
                    cells.setdefault(scale.level(value), []).append(cell)
        for level, rectangles in sorted(cells.items()):
            _rectangles(axes, rectangles, _HEAT[level])
        axes.set_xticks(
            [place + 0.5 for place, _ in ticks], [text for _, text in ticks], color=_INK
        )
        axes.set_yticks(
            [number + 0.5 for number in range(len(rows))], [name for name, _ in rows], color=_INK
        )

    return _svg(label, width, height, draw)


def curve(
    label: str, points: Sequence[tuple[float, float]], x_label: str, width: int, height: int
) -> str:
    """Percent (y) over x, as a line with a mark at each point."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = _axes(figure, width, height, left=46, right=12, top=10, bottom=38)
        axes.grid(axis="y", color=_GRID, linewidth=1)
        most = max((y for _, y in points), default=0)
        axes.set_ylim(0, min(100, most * 1.1) or 1)
        axes.set_xlim(0, max((x for x, _ in points), default=0) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}%")
        axes.tick_params(labelcolor=_INK)
        axes.set_xlabel(x_label, color=_INK)
        xs, ys = [x for x, _ in points], [y for _, y in points]
        axes.plot(xs, ys, color=_SERIES[0], linewidth=2, clip_on=False)
        radius_x = 3 * (axes.get_xlim()[1]) / (width - 58)
        radius_y = 3 * (axes.get_ylim()[1]) / (height - 48)
        if len(points) <= 60:
            _diamonds(axes, points, radius_x, radius_y)

    return _svg(label, width, height, draw)


def shortened(text: str, characters: int) -> str:
    """`text` on one line, cut to so many characters, of which wide ones count twice.

    What is not to be seen but changes what is (controls, directions) is left out.
    """
    line = " ".join(plain(text).split())
    if sum(map(_width, line)) <= characters:
        return line
    kept, used = [], 1
    for character in line:
        used += _width(character)
        if used > characters:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def plain(text: str) -> str:
    """`text` without control characters and marks of direction, which reach beyond it."""
    return "".join(
        character if character not in _DIRECTIONS else "" for character in text.translate(_CONTROLS)
    )


_CONTROLS = dict.fromkeys(
    (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000)), " "
)
_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _axes(
    figure: Figure, width: int, height: int, *, left: int, right: int, top: int, bottom: int
) -> Axes:
    """Axes with margins in pixels, whatever the texts; a base line, and no other frame."""
    axes = figure.add_axes(
        (
            left / width,
            bottom / height,
            (width - left - right) / width,
            (height - top - bottom) / height,
        )
    )
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    # A tick would be a shape that is drawn by its id.
    axes.tick_params(left=False, bottom=False, pad=5)
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    return axes


def _count_axis(axes: Axes, most: int) -> None:
    from matplotlib.ticker import MaxNLocator

    ticks = [int(tick) for tick in MaxNLocator(4, integer=True).tick_values(0, max(most, 1))]
    ticks = [tick for tick in ticks if tick >= 0]
    axes.set_ylim(0, max(ticks))
    axes.set_yticks(ticks, [_short(tick) for tick in ticks], color=_INK)
    axes.grid(axis="y", color=_GRID, linewidth=1)


def _short(count: int) -> str:
    """A count with at most four digits: 1,500 and 15k and 1.5M."""
    for unit, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if count >= unit and (count >= 10_000 or unit > 1000):
            return f"{count / unit:.4g}{letter}"
    return f"{count:,}"


def _rectangles(
    axes: Axes, rectangles: Sequence[tuple[float, float, float, float]], colour: str
) -> None:
    """All rectangles (left, bottom, width, height) as one shape: a tenth of the bytes."""
    _shape(
        axes,
        [
            ((x, y), (x, y + height), (x + width, y + height), (x + width, y))
            for x, y, width, height in rectangles
        ],
        colour,
    )


def _diamonds(
    axes: Axes, points: Sequence[tuple[float, float]], radius_x: float, radius_y: float
) -> None:
    _shape(
        axes,
        [
            ((x - radius_x, y), (x, y + radius_y), (x + radius_x, y), (x, y - radius_y))
            for x, y in points
        ],
        _SERIES[0],
    )


def _shape(axes: Axes, polygons: Sequence[Sequence[tuple[float, float]]], colour: str) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not polygons:
        return
    corners = [corner for polygon in polygons for corner in (*polygon, polygon[0])]
    codes = [
        code
        for polygon in polygons
        for code in (Path.MOVETO, *[Path.LINETO] * (len(polygon) - 1), Path.CLOSEPOLY)
    ]
    axes.add_artist(PathPatch(Path(corners, codes), facecolor=colour, linewidth=0, clip_on=False))


@cache
def _matplotlib() -> Any:
    """The library, imported without a trace.

    It keeps a list of the machine's fonts in the user's home, and tells of it: here it keeps none.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    before = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory(prefix="engagement-fonts-") as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            import matplotlib as mpl
            import matplotlib.backends.backend_svg
            import matplotlib.figure
            import matplotlib.style
        finally:
            if before is None:
                del os.environ["MPLCONFIGDIR"]
            else:
                os.environ["MPLCONFIGDIR"] = before
    return mpl


@contextmanager
def _figure(width: int, height: int) -> Iterator[Figure]:
    """A figure whose unit is a pixel, drawn by the library's own defaults, not by this user's."""
    # The defaults are the process's, as is where the library looks for its own folder.
    with _DRAWING, (library := _matplotlib()).rc_context():
        library.rcdefaults()
        library.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": "engagement",
                "font.family": ["DejaVu Sans"],
                "font.size": _FONT_SIZE,
                "axes.unicode_minus": False,
                "path.simplify": False,
            }
        )
        yield library.figure.Figure(
            figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH), dpi=_POINTS_PER_INCH
        )


def _svg(
    label: str,
    width: int,
    height: int,
    draw: Callable[[Figure], None],
    names: dict[str, str] | None = None,
) -> str:
    with _figure(width, height) as figure:
        figure.patch.set_visible(False)
        draw(figure)
        text = io.StringIO()
        figure.savefig(
            text,
            format="svg",
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    drawn = text.getvalue()
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 :]
    body = re.sub(
        r"<!--.*?-->|<defs>.*?</defs>|<metadata>.*?</metadata>", "", body, flags=re.DOTALL
    )
    body = re.sub(r' (?:id|clip-path)="[^"]*"', "", body)
    body = re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), body)
    body = re.sub(r"font-(?:size|family): [^;]*; ?", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><").strip()
    # At once: a name can look like a placeholder.
    body = re.sub(r">(name-\d+)<", lambda found: f">{html.escape((names or {})[found[1]])}<", body)
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width} {height}" '
        f'style="max-width: {width * 1.25:g}px">{body}'
    )
