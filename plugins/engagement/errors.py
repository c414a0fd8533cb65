"""Errors whose message is one line for the person who reads it.

A message says what was wrong, what was expected and what to do. It never holds a secret or a
value out of the app's data.
"""

import errno


class EngagementError(Exception):
    """The work could not be done; trying again unchanged will not help."""


class UsageError(EngagementError):
    """Somebody asked for something that does not exist or makes no sense."""


class ConfigurationError(EngagementError):
    """A setting or a connection is missing or wrong."""


class DataQualityError(EngagementError):
    """The data breaks a critical expectation or a dataset breaks its contract."""


class PublishError(EngagementError):
    """The archive could not be published, or must not be."""


class TemporaryError(EngagementError):
    """A server did not answer as it should; the same call may succeed later."""


def one_line(error: BaseException) -> str:
    """The message of `error` on one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


def explain_os_error(error: OSError) -> str:
    """What the operating system refused, and what to do about it, on one line."""
    where = f" ({error.filename})" if error.filename else ""
    advice = {
        errno.ENOSPC: "free space on the disk that holds it, then run again",
        errno.EDQUOT: "free space on the disk that holds it, then run again",
        errno.EACCES: "choose a folder that may be written, or change its rights",
        errno.EPERM: "choose a folder that may be written, or change its rights",
        errno.EROFS: "choose a folder that may be written",
        errno.ENOTDIR: "choose a path whose parents are folders",
        errno.EEXIST: "choose a path that is a folder, or one that does not exist",
    }.get(error.errno or 0, "check the path and the disk, then run again")
    return f"{error.strerror or one_line(error)}{where}: {advice}"
