"""Names of fasts for people, where several of one name stand together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar


class Fast(Protocol):
    """A fast, by its label and its church."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def church(self) -> str: ...


_Fast = TypeVar("_Fast", bound=Fast)
_Told = TypeVar("_Told", bound=Hashable)


def told_apart(fasts: Sequence[_Fast], tell: Callable[[_Fast, int], _Told]) -> list[_Told]:
    """What `tell` says of fasts that stand together, each with the details that it needs.

    It is asked for no detail, for one (the church) of fasts that are told the same, and for two
    (also the id) of those that still are.
    """
    told = [tell(fast, 0) for fast in fasts]
    for details in (1, 2):
        times = Counter(told)
        told = [
            tell(fast, details) if times[one] > 1 else one
            for fast, one in zip(fasts, told, strict=True)
        ]
    return told


def label(fast: Fast, details: int, quote: Callable[[str], str]) -> str:
    """The name of a fast with so many details of `told_apart`, such as `Fast (St. X, id 3)`."""
    told = (quote(fast.church), f"id {fast.id}")[:details]
    return quote(fast.name) + (f" ({', '.join(told)})" if told else "")


def gone(fast_id: int) -> str:
    """What is told of a fast that the app has deleted."""
    return f"a fast that is gone (id {fast_id})"
