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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, TextIO

LEVELS = 6
"""The steps of a heat map above nothing."""

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
# More points are a line without marks.
_MARKED = 60
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "engagement",
    "svg.id": None,
    "path.simplify": False,
}
_DRAWING = Lock()

_Point = tuple[float, float]
_Polygon = Sequence[_Point]
_Rectangle = tuple[float, float, float, float]


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

    def draw(drawing: _Drawing) -> None:
        middle, reach = (len(values) - 1) / 2, max(len(values), _COLUMNS_ROOM) / 2 + 0.1
        marks = _locations(4, 0, max([1, *values]), integer=True)
        axes = _Axes(
            drawing,
            left=46,
            right=22,
            top=10,
            bottom=22,
            x=(middle - reach, middle + reach),
            y=(0, max(marks)),
        )
        axes.below(ticks)
        axes.beside([(mark, _short(int(mark))) for mark in marks], lines=True)
        axes.rectangles(
            [(position - 0.4, 0, 0.8, value) for position, value in enumerate(values) if value],
            _SERIES[0],
        )
        axes.base_line()

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

    def draw(drawing: _Drawing) -> None:
        most = max((value for _, values in rows for value in values), default=0)
        room = width - 70
        bars: list[list[_Polygon]] = [[] for _ in range(series)]
        texts: list[tuple[float, float, str]] = []
        for number, (_, values) in enumerate(rows):
            top = number * row_height
            texts.append((0, top + 13, _NAME.format(number)))
            for place, value in enumerate(values):
                begin = top + name_height + place * (bar + 2)
                length = room * value / most if most else 0
                if value:
                    bars[place].append(_rectangle(0, begin, max(length, 1), begin + bar))
                texts.append((length + (6 if value else 0), begin + bar - 1.5, f"{value:,}"))
        for place, polygons in enumerate(bars):
            drawing.shape(polygons, _SERIES[place])
        for x, y, text in texts:
            drawing.text(x, y, text, "left")

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

    def draw(drawing: _Drawing) -> None:
        axes = _Axes(
            drawing,
            left=44,
            right=1,
            top=1,
            bottom=bottom,
            x=(0, length),
            y=(len(rows), 0),
        )
        axes.below([(place + 0.5, text) for place, text in ticks])
        axes.beside([(number + 0.5, name) for number, (name, _) in enumerate(rows)])
        cells: dict[int, list[_Rectangle]] = {}
        for number, (_, values) in enumerate(rows):
            for position, value in enumerate(values):
                if value is not None:
                    cell = (position + 0.04, number + 0.04, 0.92, 0.92)
                    cells.setdefault(scale.level(value), []).append(cell)
        for level, rectangles in sorted(cells.items()):
            axes.rectangles(rectangles, _HEAT[level])

    return _svg(label, width, height, draw)


def curve(
    label: str, points: Sequence[tuple[float, float]], x_label: str, width: int, height: int
) -> str:
    """Percent (y) over x, as a line with a mark at each point."""
    radius = 3

    def draw(drawing: _Drawing) -> None:
        most_x = max((x for x, _ in points), default=0) or 1
        most_y = min(100, max((y for _, y in points), default=0) * 1.1) or 1
        axes = _Axes(drawing, left=46, right=12, top=10, bottom=38, x=(0, most_x), y=(0, most_y))
        axes.below([(x, f"{x:g}") for x in _locations(6, 0, most_x, integer=True) if x <= most_x])
        axes.title_below(x_label)
        axes.beside([(y, f"{y:g}%") for y in _locations(5, 0, most_y) if y <= most_y], lines=True)
        drawn = [(axes.x(x), axes.y(y)) for x, y in points]
        if len(points) <= _MARKED:
            drawing.shape(
                [
                    ((x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius))
                    for x, y in drawn
                ],
                _SERIES[0],
            )
        drawing.line(drawn, _SERIES[0], 2)
        axes.base_line()

    return _svg(label, width, height, draw)


def shortened(text: str, characters: int) -> str:
    """`text` on one line, cut to so many characters, of which wide ones count twice.

    What is not to be seen but changes what is (controls, directions) is left out.
    """
    line = " ".join(plain(text).split())
    if width(line) <= characters:
        return line
    kept, used = [], 1
    for character in line:
        used += _width(character)
        if used > characters:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def width(text: str) -> int:
    """How many characters wide a text is: wide ones count twice."""
    return sum(map(_width, text))


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


def _locations(most: int, low: float, high: float, *, integer: bool = False) -> list[float]:
    """Round numbers from 0 up, which reach from `low` to `high` in `most` steps at most."""
    locator = _matplotlib().ticker.MaxNLocator(most, integer=integer)
    return [float(tick) for tick in locator.tick_values(low, high) if tick >= 0]


def _short(count: int) -> str:
    """A count with at most four digits: 1,500 and 15k and 1.5M."""
    for unit, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if count >= unit and (count >= 10_000 or unit > 1000):
            return f"{count / unit:.4g}{letter}"
    return f"{count:,}"


def _rectangle(left: float, top: float, right: float, bottom: float) -> _Polygon:
    return ((left, bottom), (left, top), (right, top), (right, bottom))


class _Drawing:
    """What is drawn, in pixels from the upper left corner; the library writes it as SVG.

    It is drawn by the library's renderer alone: its figures lay out, measure and style far more
    than these charts show, in many times the time.
    """

    def __init__(self, width: int, height: int, target: TextIO) -> None:
        self.width = width
        self.height = height
        self._library = _matplotlib()
        self._renderer = self._library.backends.backend_svg.RendererSVG(
            width, height, target, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
        # The renderer counts paths from the lower left corner, and texts from the upper one.
        self._upright = self._library.transforms.Affine2D().scale(1, -1).translate(0, height)
        self._font = self._library.font_manager.FontProperties(
            family=["DejaVu Sans"],
            style="normal",
            variant="normal",
            weight="normal",
            stretch="normal",
            size=_FONT_SIZE,
        )
        self._anchor = self._library.text.Text()

    def finish(self) -> None:
        """Writes the end of it."""
        self._renderer.finalize()

    def shape(self, polygons: Sequence[_Polygon], colour: str) -> None:
        """All polygons as one shape: a tenth of the bytes."""
        if not polygons:
            return
        path = self._library.path.Path
        corners = [corner for polygon in polygons for corner in (*polygon, polygon[0])]
        codes = [
            code
            for polygon in polygons
            for code in (path.MOVETO, *[path.LINETO] * (len(polygon) - 1), path.CLOSEPOLY)
        ]
        pen = self._renderer.new_gc()
        pen.set_linewidth(0)
        fill = self._library.colors.to_rgba(colour)
        self._renderer.draw_path(pen, path(corners, codes), self._upright, fill)

    def line(self, points: Sequence[_Point], colour: str, thickness: float) -> None:
        """One line through all the points."""
        pen = self._renderer.new_gc()
        pen.set_foreground(colour)
        pen.set_linewidth(thickness)
        pen.set_capstyle("projecting")
        self._renderer.draw_path(pen, self._library.path.Path(points), self._upright)

    def text(self, x: float, y: float, text: str, anchor: str) -> None:
        """One line of text whose base line is at `y`, and whose `anchor` is at `x`."""
        pen = self._renderer.new_gc()
        pen.set_foreground(_INK)
        self._anchor.set(x=x, horizontalalignment=anchor)
        self._renderer.draw_text(pen, x, y, text, self._font, 0, mtext=self._anchor)


class _Axes:
    """A part of a drawing with margins in pixels, whose coordinates are those of the numbers."""

    def __init__(
        self,
        drawing: _Drawing,
        *,
        left: int,
        right: int,
        top: int,
        bottom: int,
        x: tuple[float, float],
        y: tuple[float, float],
    ) -> None:
        self._drawing = drawing
        self._left, self._right = left, drawing.width - right
        self._top, self._bottom = top, drawing.height - bottom
        self._xs, self._ys = x, y

    def x(self, value: float) -> float:
        """Where a number is, from the left."""
        first, last = self._xs
        return self._left + (value - first) / (last - first) * (self._right - self._left)

    def y(self, value: float) -> float:
        """Where a number is, from the top."""
        first, last = self._ys
        return self._bottom - (value - first) / (last - first) * (self._bottom - self._top)

    def below(self, ticks: Iterable[tuple[float, str]]) -> None:
        """Texts under the axes."""
        for value, text in ticks:
            self._drawing.text(self.x(value), self._bottom + 17.6, text, "center")

    def title_below(self, text: str) -> None:
        """What the texts under the axes count."""
        self._drawing.text((self._left + self._right) / 2, self._bottom + 33.6, text, "center")

    def beside(self, ticks: Iterable[tuple[float, str]], *, lines: bool = False) -> None:
        """Texts at the left of the axes, and lines across them."""
        for value, text in ticks:
            y = self.y(value)
            if lines:
                self._drawing.line([(self._left, y), (self._right, y)], _GRID, 1)
            self._drawing.text(self._left - 8.5, y + 4.6, text, "right")

    def base_line(self) -> None:
        """The line that everything stands on, above what reaches below it."""
        self._drawing.line([(self._left, self._bottom), (self._right, self._bottom)], _GRID, 1)

    def rectangles(self, rectangles: Iterable[_Rectangle], colour: str) -> None:
        """Rectangles (left, bottom, width, height), in the coordinates of the numbers."""
        self._drawing.shape(
            [
                _rectangle(self.x(x), self.y(y + height), self.x(x + width), self.y(y))
                for x, y, width, height in rectangles
            ],
            colour,
        )


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
            import matplotlib.text
            import matplotlib.ticker
        finally:
            if before is None:
                del os.environ["MPLCONFIGDIR"]
            else:
                os.environ["MPLCONFIGDIR"] = before
    return mpl


def _svg(
    label: str,
    width: int,
    height: int,
    draw: Callable[[_Drawing], None],
    names: dict[str, str] | None = None,
) -> str:
    text = io.StringIO()
    # The settings are the process's, and may be this user's own.
    with _DRAWING, _matplotlib().rc_context(_SETTINGS):
        drawing = _Drawing(width, height, text)
        draw(drawing)
        drawing.finish()
    drawn = text.getvalue()
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 :]
    body = re.sub(
        r"<!--.*?-->|<defs>.*?</defs>|<metadata>.*?</metadata>", "", body, flags=re.DOTALL
    )
    body = re.sub(r"-?\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), body)
    body = re.sub(r"font-(?:size|family): [^;]*; ?", "", body)
    body = re.sub(r' transform="rotate\(0 [^"]*"', "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><").strip()
    # At once: a name can look like a placeholder.
    body = re.sub(r">(name-\d+)<", lambda found: f">{html.escape((names or {})[found[1]])}<", body)
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width} {height}" '
        f'style="max-width: {width * 1.25:g}px">{body}'
    )
