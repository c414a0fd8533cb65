"""What kinds of events there are, and how many; a DAG file may import this: it needs nothing."""

from __future__ import annotations

from enum import StrEnum

JOINED, LEFT = "user_joined_fast", "user_left_fast"
"""The codes of the events that the app writes when a user joins and leaves a fast."""

DEFAULT_LOOKBACK_DAYS, LONGEST_LOOKBACK_DAYS = 7, 3660
"""How far a run looks back, in days of 24 hours, and how far it can."""
DEFAULT_MAX_EVENTS = 1000
"""The fuse of a kind: where more are missing, a run writes none."""


class Kind(StrEnum):
    """The kinds of lifecycle and milestone events, each written by a task of its own."""

    FAST_BEGINNINGS = "fast_beginnings"
    FAST_ENDINGS = "fast_endings"
    DEVOTIONALS_AVAILABLE = "devotionals_available"
    PARTICIPANT_MILESTONES = "participant_milestones"
    USER_MILESTONES = "user_milestones"

    @property
    def event_type(self) -> str:
        """The code of its events' type in the app."""
        return _EVENT_TYPES[self]


_EVENT_TYPES = {
    Kind.FAST_BEGINNINGS: "fast_beginning",
    Kind.FAST_ENDINGS: "fast_ending",
    Kind.DEVOTIONALS_AVAILABLE: "devotional_available",
    Kind.PARTICIPANT_MILESTONES: "fast_participant_milestone",
    Kind.USER_MILESTONES: "user_milestone_reached",
}
