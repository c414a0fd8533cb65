"""The kinds of lifecycle and milestone events; a DAG file may import this, for it needs nothing."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """The kinds of events, each written by a task of its own."""

    FAST_BEGINNINGS = "fast_beginnings"
    FAST_ENDINGS = "fast_endings"
    DEVOTIONALS_AVAILABLE = "devotionals_available"
    PARTICIPANT_MILESTONES = "participant_milestones"
    USER_MILESTONES = "user_milestones"
