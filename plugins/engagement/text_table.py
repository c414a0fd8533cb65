"""Plain text for logs and messages: tables, and numbers with what they count."""

from __future__ import annotations

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
