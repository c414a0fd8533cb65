"""The words and proportions of the demo's data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# An item of a list is a name and a detail whose meaning depends on the list.
LISTS: dict[str, Sequence[tuple[str, str]]] = {
    # As written, and as part of an address.
    "first name": [
        ("Anna", "anna"), ("Արամ", "aram"), ("Maria", "maria"), ("David", "david"),
        ("Նարե", "nare"), ("Peter", "peter"), ("Sophia", "sophia"), ("Hagop", "hagop"),
        ("Zoë", "zoe"), ("John", "john"), ("Талин", "talin"), ("Michael", "michael"),
        ("Elena", "elena"), ("George", "george"), ("Lusine", "lusine"), ("Ruth", "ruth"),
    ],
    "last name": [
        ("Petrosyan", "petrosyan"), ("Smith", "smith"), ("O'Brien", "obrien"),
        ("Գրիգորյան", "grigoryan"), ("Haddad", "haddad"), ("Johnson", "johnson"),
        ("Sarkissian", "sarkissian"), ("Müller", "mueller"), ("Ivanov", "ivanov"),
        ("Garcia", "garcia"), ("Papadopoulos", "papadopoulos"), ("Khoury", "khoury"),
    ],
    "mail domain": [
        ("example.org", ""), ("example.com", ""), ("example.net", ""), ("mail.example", ""),
    ],
    # With its time zone.
    "place": [
        ("Glendale, CA", "America/Los_Angeles"), ("Yerevan", "Asia/Yerevan"),
        ("Boston, MA", "America/New_York"), ("Fresno, CA", "America/Los_Angeles"),
        ("Chicago, IL", "America/Chicago"), ("Beirut", "Asia/Beirut"), ("Paris", "Europe/Paris"),
        ("Sydney", "Australia/Sydney"),
    ],
    # With the path of the request; the first is viewed most.
    "screen": [
        ("home", "/api/fasts/"), ("fast_detail", "/api/fasts/"), ("calendar", "/api/days/"),
        ("devotional", "/api/devotionals/"), ("activity_feed", "/api/events/activity-feed/"),
        ("readings", "/api/readings/"), ("prayers", "/api/prayers/"), ("checklist", "/api/"),
        ("profile", "/api/profile/"), ("prayer_requests", "/api/prayer-requests/"),
        ("videos", "/api/learning-resources/videos/"), ("recipes", "/api/"), ("settings", "/api/"),
        ("articles", "/api/"), ("bookmarks", "/api/"), ("", "/api/"),
    ],
    "agent": [
        ("FastAndPray/1.9.1 (iPhone; iOS 18.1; Scale/3.00)", ""),
        ("FastAndPray/1.9.0 (iPhone; iOS 17.6; Scale/2.00)", ""),
        ("okhttp/4.12.0", ""),
        ("Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 Mobile", ""),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15", ""),
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventType:
    """A row of events_eventtype."""

    id: int
    code: str
    category: str
    requires_target: bool


_TYPES = {
    ("analytics", False): "app_open checklist_used screen_view session_end session_start",
    ("analytics", True): "devotional_viewed prayer_request_viewed prayer_set_viewed prayer_viewed"
    " tutorial_video_viewed",
    ("milestone", True): "fast_participant_milestone",
    ("milestone", False): "user_milestone_reached",
    ("notification", True): "devotional_available prayer_request_thanks_sent",
    ("system_event", True): "article_published fast_beginning fast_created fast_ending"
    " fast_updated prayer_request_completed recipe_published video_published",
    ("user_action", True): "prayer_request_accepted prayer_request_created user_joined_fast"
    " user_left_fast",
    ("user_action", False): "user_account_created user_logged_in user_logged_out",
}
EVENT_TYPES = tuple(
    # Ids follow an app's history, not the alphabet.
    EventType(3 + number * 7 % 31, code, category, requires_target)
    for number, (code, category, requires_target) in enumerate(
        (code, category, requires_target)
        for (category, requires_target), codes in _TYPES.items()
        for code in codes.split()
    )
)
CONTENT_TYPES = {
    name: number
    for number, name in enumerate(
        (
            f"{app}.{model}"
            for app, models in {
                "hub": "church fast profile day reading devotionalset devotional fastparticipantmap"
                " geocodingcache llmprompt readingcontext patristicquote feast feastcontext",
                "learning_resources": "article video recipe bookmark",
                "events": "eventtype event useractivityfeed usermilestone announcement",
                "prayers": "prayer prayerset prayersetmembership prayerrequest"
                " prayerrequestprayerlog prayerrequestacceptance feastprayer",
            }.items()
            for model in models.split()
        ),
        start=7,
    )
}

# What users do: parts of a thousand, code, title, target, whether somebody does it.
_EVENT_KINDS = (
    (430, "screen_view", "Screen view", None, True),
    (110, "app_open", "App opened", None, True),
    (110, "session_start", "Session started", None, True),
    (70, "session_end", "Session ended", None, True),
    (95, "devotional_viewed", "Devotional viewed", "hub.devotional", True),
    (50, "checklist_used", "Checklist used", None, True),
    (33, "prayer_viewed", "Prayer viewed", "prayers.prayer", True),
    (30, "prayer_request_viewed", "Prayer request viewed", "prayers.prayerrequest", True),
    (25, "tutorial_video_viewed", "Tutorial video viewed", "learning_resources.video", True),
    (22, "user_logged_in", "User logged in", None, True),
    (12, "prayer_set_viewed", "Prayer set viewed", "prayers.prayerset", True),
    (7, "user_logged_out", "User logged out", None, True),
    (2, "prayer_request_created", "Prayer request created", "prayers.prayerrequest", True),
    (2, "prayer_request_accepted", "Prayer request accepted", "prayers.prayerrequest", True),
    (1, "prayer_request_thanks_sent", "Thanks sent", "prayers.prayerrequest", True),
    (1, "prayer_request_completed", "Prayer request completed", "prayers.prayerrequest", False),
)
# What appears in feeds: parts of a hundred, type, title, description, target. The database fills
# in the titles of fasts and devotionals.
_ACTIVITY_KINDS = (
    (29, "devotional_available", "", "", "hub.fast"),
    (20, "devotional_reminder", "", "A new one is available:\nread it today.", "hub.devotional"),
    (14, "fast_reminder", "", "", "hub.fast"),
    (11, "fast_start", "", "", "hub.fast"),
    (8, "announcement", "Announcement ", 'From your church, "with love".', "events.announcement"),
    (6, "video_published", "New Video: part ", "A new video", "learning_resources.video"),
    (5, "article_published", "Article published: ", "An article", "learning_resources.article"),
    (4, "recipe_published", "Recipe: Harissa ", "Serves 4\nTime: 2 h", "learning_resources.recipe"),
    (3, "event", "Vigil, evening ", "A service near you", None),
)


def event_kinds() -> list[tuple[object, ...]]:
    """A thousand slots: code, title, model, has a user, event type id, content type id."""
    ids = {event_type.code: event_type.id for event_type in EVENT_TYPES}
    return [
        (code, title, _model(target), has_user, ids[code], CONTENT_TYPES.get(target or ""))
        for parts, code, title, target, has_user in _EVENT_KINDS
        for _ in range(parts)
    ]


def activity_kinds() -> list[tuple[object, ...]]:
    """A hundred slots: type, title, description, model, content type id."""
    return [
        (activity_type, title, text, _model(target), CONTENT_TYPES.get(target or ""))
        for parts, activity_type, title, text, target in _ACTIVITY_KINDS
        for _ in range(parts)
    ]


def _model(target: str | None) -> str | None:
    return target.split(".")[1] if target else None
