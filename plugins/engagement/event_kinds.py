"""What kinds of events there are; a DAG file may import this, for it needs nothing."""

from __future__ import annotations

from enum import StrEnum

JOINED, LEFT = "user_joined_fast", "user_left_fast"
"""The codes of the events that the app writes when a user joins and leaves a fast."""


class Kind(StrEnum):
    """The kinds of lifecycle and milestone events, each written by a task of its own."""

    FAST_BEGINNINGS = "fast_beginnings"
    FAST_ENDINGS = "fast_endings"
    DEVOTIONALS_AVAILABLE = "devotionals_available"
    PARTICIPANT_MILESTONES = "participant_milestones"
    USER_MILESTONES = "user_milestones"
