"""What a browser may do with an answer: the values of `Content-Security-Policy`."""

from __future__ import annotations

import hashlib
from base64 import b64encode

_NOTHING = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; form-action 'none'; "
    "base-uri 'none'"
)

ANSWER = f"{_NOTHING}; img-src data: 'self'; frame-src 'self'"
"""For every answer that names none of its own: no script runs."""

# Of the same origin, for a link to another page of the report carries the login only then.
STORED_PAGE = f"sandbox allow-same-origin; {_NOTHING}; img-src data:"
"""For a page out of an archive, above every inline rule: nothing in it can act."""


def with_script(script: str) -> str:
    """For a page with one script, the text `script` to the letter: no other runs."""
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{ANSWER}; script-src 'sha256-{digest}'"
