"""Plain text for logs, messages and Markdown: tables, and numbers with what they count."""

from __future__ import annotations

import re
from collections.abc import Sequence


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun, such as `1 row` and `2,000 rows`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows, a header first, in columns two blanks apart; numbers are aligned to the right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, cells)) for cells in columns]
    numeric = [
        all(cell == "-" or cell.replace(",", "").isdigit() for cell in cells[1:])
        for cells in columns
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    ]


def code_span(text: str) -> str:
    """Any text as a code span of Markdown, on one line; control characters are spelt out."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    # A blank beside each fence is no part of the text.
    pad = " " if {line[:1], line[-1:]} & {"`", " "} else ""
    return f"{fence}{pad}{line}{pad}{fence}"
