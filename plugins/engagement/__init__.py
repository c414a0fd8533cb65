"""Engagement reports of a fasting and prayer app: from its database to one published archive."""

__version__ = "0.1.0"
