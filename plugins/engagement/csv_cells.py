"""Cells of CSV, as in the datasets: of RFC 4180, and safe to open in a spreadsheet."""

from __future__ import annotations

import re

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NEEDS_QUOTES = re.compile('[",\r\n]')


def formula_safe(text: str) -> str:
    """A text that no spreadsheet runs as a formula: as the macro of this name, for a stream."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def quoted(text: str) -> str:
    """A text as a cell: in quotes where it needs them, and where it is empty, which is not null.

    The standard library's writer cannot tell the empty text from null, and before Python 3.13 it
    quotes no carriage return.
    """
    if text and not _NEEDS_QUOTES.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'
