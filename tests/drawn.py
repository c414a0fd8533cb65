"""The charts of a page, read as an eye reads them: by their places on the axes, and the legend."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

Point = tuple[float, float]

PIXEL = 0.25
"""How far a place can be from where it is drawn: places are rounded to a tenth of a pixel."""

# From the middle of a text to its base line, and from the foot of a bar to that of its number.
_TEXT_MIDDLE = 4.6
_NUMBER_RISE = 1.5


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> Point:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a drawing, anchored at its start, middle or end."""

    anchor: str
    x: float
    y: float
    text: str


class Drawing:
    """One drawing: its texts, its shapes by their colour, and its lines by theirs."""

    def __init__(self, svg: str) -> None:
        self.texts: list[Text] = []
        self.shapes: dict[str, list[Box]] = {}
        self.lines: dict[str, list[list[Point]]] = {}
        for element in ET.fromstring(svg):
            style = dict(re.findall(r"([a-z-]+): ([^;]+)", element.attrib["style"]))
            if element.tag == "text":
                x, y = float(element.attrib["x"]), float(element.attrib["y"])
                self.texts.append(Text(style["text-anchor"], x, y, element.text or ""))
            elif style["fill"] == "none":
                self.lines.setdefault(_variable(style["stroke"]), []).extend(_paths(element))
            else:
                self.shapes.setdefault(_variable(style["fill"]), []).extend(
                    Box(min(xs), min(ys), max(xs), max(ys))
                    for xs, ys in (zip(*path, strict=True) for path in _paths(element))
                )

    def below(self) -> list[tuple[float, str]]:
        """The places from the left of the texts under the axes, of the first line of them."""
        texts = [text for text in self.texts if text.anchor == "middle"]
        return [(one.x, one.text) for one in texts if one.y == min(text.y for text in texts)]

    def beside(self) -> list[tuple[float, str]]:
        """The places from the top of the texts at the left of the axes."""
        return [(one.y - _TEXT_MIDDLE, one.text) for one in self.texts if one.anchor == "end"]

    def height(self, y: float) -> float:
        """The number at a place from the top, by the numbers at the left."""
        return _between(y, [(at, _number(text)) for at, text in self.beside()])

    def across(self, x: float) -> float:
        """The number at a place from the left, by the numbers under the axes."""
        return _between(x, [(at, _number(text)) for at, text in self.below()])

    def pixels_each(self) -> float:
        """How high one of what the numbers at the left count is."""
        (low, least), *_, (high, most) = self.beside()
        return (low - high) / (_number(most) - _number(least))

    def columns(self, ticks: Sequence[str]) -> dict[int, float]:
        """The heights of the columns by their positions, whose texts could be `ticks`."""
        places = [(x, float(ticks.index(text))) for x, text in self.below()]
        found = {}
        for box in self.shapes.get("--series-1", []):
            position = _between(box.middle[0], places)
            assert abs(position - round(position)) < 0.1
            found[round(position)] = self.height(box.top) - self.height(box.bottom)
        return found

    def named(self, series: Sequence[str]) -> list[tuple[str, dict[str, int]]]:
        """Named bars: the numbers by colour, each beside a bar of its length."""
        texts = iter(self.texts)
        rows = [
            (name.text, dict(zip(series, (next(texts) for _ in series), strict=True)))
            for name in texts
        ]
        numbers = [(colour, number) for _, row in rows for colour, number in row.items()]
        most = max(_number(number.text) for _, number in numbers)
        bars = {
            (colour, box.bottom): box for colour in series for box in self.shapes.get(colour, [])
        }
        room = max(box.right for box in bars.values())
        for colour, number in numbers:
            value = _number(number.text)
            if value:
                bar = bars.pop((colour, number.y + _NUMBER_RISE))
                assert (bar.left, value) == (0, value)
                assert abs(bar.right - max(room * value / most, 1)) <= PIXEL
        assert not bars
        return [
            (name, {colour: int(_number(number.text)) for colour, number in row.items()})
            for name, row in rows
        ]

    def cells(self) -> Iterator[tuple[str, float, int]]:
        """A heat map: each cell's row by its name, its place across, and its level."""
        for colour, boxes in self.shapes.items():
            for box in boxes:
                x, y = box.middle
                row = min(self.beside(), key=lambda one: abs(one[0] - y))
                assert abs(row[0] - y) <= 1
                yield row[1], self.across(x), int(colour.removeprefix("--heat-"))


@dataclass(frozen=True, slots=True)
class Panel:
    """The drawings for a wide and for a narrow screen, and what their colours mean."""

    drawings: tuple[Drawing, Drawing]
    legend: dict[str, str]

    def limits(self) -> list[float]:
        """What each level of a heat map reaches up to, by its legend."""
        return [
            _number(text.removeprefix("up to "))
            for _, text in sorted(self.legend.items(), key=lambda one: one[0])
        ]


def panels(page: str) -> dict[str, list[Panel]]:
    """The panels of each chart of a page, by the chart's title."""
    found = {}
    for figure in re.findall(r"<figure>(.*?)</figure>", page, re.DOTALL):
        title = re.search(r"<h3[^>]*>(.*?)</h3>", figure)
        assert title
        parts = re.findall(
            r'<div class="wide">(.*?)</div>\s*<div class="narrow">(.*?)</div>'
            r'(?:\s*<ul class="legend"[^>]*>(.*?)</ul>)?',
            figure,
            re.DOTALL,
        )
        found[html.unescape(title[1])] = [
            Panel((Drawing(wide), Drawing(narrow)), dict(_legend(legend)))
            for wide, narrow, legend in parts
        ]
    return found


def _legend(items: str) -> list[tuple[str, str]]:
    return re.findall(r"background: var\(([a-z0-9-]+)\)\"></span>([^<]*)</li>", items)


def _variable(colour: str) -> str:
    return colour.removeprefix("var(").removesuffix(")")


def _paths(element: ET.Element) -> list[list[Point]]:
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", path)]
        for path in re.findall(r"M ([^Mz]+)", element.attrib["d"])
    ]


def _number(text: str) -> float:
    return float(text.replace(",", "").removesuffix("%").removesuffix(":00"))


def _between(place: float, known: Sequence[tuple[float, float]]) -> float:
    """What a place stands for, by the first and the last place that are known."""
    (first, one), (last, other) = known[0], known[-1]
    if first == last:
        return one + (place - first)
    return one + (place - first) / (last - first) * (other - one)
