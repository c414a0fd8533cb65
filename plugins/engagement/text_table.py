"""Tables as plain text, for logs."""

from __future__ import annotations

from collections.abc import Sequence


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
