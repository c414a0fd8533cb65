"""The settings: every wrong variable is named, with what was expected, all of them at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engagement.errors import ConfigurationError
from engagement.settings import Settings, load

SECRET = "Tr0ub4dor"
WRONG = [
    ("TIMEZONE", "Mars/Olympus", ("'Mars/Olympus'", "IANA")),
    ("TIMEZONE", "../UTC", ("'../UTC'", "IANA")),
    ("DESTINATION", "ftp://server/reports", ("'ftp://server/reports'", "s3://bucket/base")),
    ("DESTINATION", "s3://", ("'s3://'", "no bucket", "s3://bucket/base")),
    ("DESTINATION", "s3:///base", ("'s3:///base'", "no bucket", "s3://bucket/base")),
    ("DESTINATION", "s3:/bucket", ("s3:...", "neither", "s3://bucket/base")),
    ("DESTINATION", "reports\n", ("'reports\\n'", "control", "expected a path")),
    ("DESTINATION", "s3://bucket/a/../b", ("'a/../b'", "'..'", "expected")),
    ("DESTINATION", "s3://bucket//b", ("'/b'", "slash", "expected")),
    ("DESTINATION", "s3://bucket/a\nb", ("'a\\nb'", "control", "expected")),
    ("S3_PREFIX", "/a", ("'/a'", "slash", "expected")),
    ("S3_PREFIX", "a/../b", ("'a/../b'", "'..'", "expected")),
    ("S3_PREFIX", "a//b", ("'a//b'", "empty", "expected")),
    ("S3_PREFIX", "a\\b", (r"'a\\b'", "backslash", "expected")),
    ("S3_PREFIX", "a\nb", ("'a\\nb'", "control", "expected")),
    ("S3_ENCRYPTION", "aes", ("'none', 'AES256' or 'aws:kms'", "got 'aes'")),
    ("S3_PRESIGN_SECONDS", "0", ("greater than or equal to 1", "got '0'")),
    ("S3_PRESIGN_SECONDS", "604801", ("less than or equal to 604800", "got '604801'")),
    ("S3_PRESIGN_SECONDS", "1h", ("integer", "got '1h'")),
    ("STAGING", "foo://x", ("foo:", "s3://connection@bucket/prefix")),
    ("STAGING", "s3:/bucket/staging", ("s3:", "s3://connection@bucket/prefix")),
    ("STAGING", "file://folder", ("file:", "expected a folder")),
    ("STAGING", "s3://", ("no bucket", "s3://connection@bucket/prefix")),
    ("STAGING", "s3://connection@/staging", ("no bucket", "s3://connection@bucket/prefix")),
    ("STAGING", "s3://@bucket/staging", ("connection's id", "s3://connection@bucket/prefix")),
    ("STAGING", "s3://bucket/a/../b", ("'a/../b'", "'..'", "expected")),
    ("STAGING", "s3://bucket/a\nb", ("control", "expected")),
    ("STAGING", "a\nb", ("'a\\nb'", "control", "expected")),
    ("STAGING_KEEP_DAYS", "0", ("greater than or equal to 1", "got '0'")),
    ("STAGING_KEEP_DAYS", "999999", ("less than or equal to 3650", "got '999999'")),
    ("SETTLE_MINUTES", "999999", ("less than or equal to 10080", "got '999999'")),
    ("STATEMENT_TIMEOUT_SECONDS", "9999999", ("less than or equal to 86400", "got '9999999'")),
    ("API_TIMEOUT_SECONDS", "9999999", ("less than or equal to 3600", "got '9999999'")),
    ("LOCK_TIMEOUT_SECONDS", "9999999", ("less than or equal to 86400", "got '9999999'")),
    ("CONNECT_TIMEOUT_SECONDS", "9999999", ("less than or equal to 3600", "got '9999999'")),
    ("MEMORY_LIMIT_MB", "99999999999", ("less than or equal to 1048576", "got '99999999999'")),
    ("THREADS", "999", ("less than or equal to 256", "got '999'")),
    ("SETTLE_MINUTES", "-1", ("greater than or equal to 0", "got '-1'")),
    ("STATEMENT_TIMEOUT_SECONDS", "0", ("greater than or equal to 1", "got '0'")),
    ("API_TIMEOUT_SECONDS", "0", ("greater than or equal to 1", "got '0'")),
    ("LOCK_TIMEOUT_SECONDS", "0", ("greater than or equal to 1", "got '0'")),
    ("CONNECT_TIMEOUT_SECONDS", "0", ("greater than or equal to 1", "got '0'")),
    ("MEMORY_LIMIT_MB", "63", ("greater than or equal to 64", "got '63'")),
    ("MEMORY_LIMIT_MB", "plenty\nof it", ("integer", "got 'plenty\\nof it'")),
    ("THREADS", "0", ("greater than or equal to 1", "got '0'")),
    ("THREADS", "1.5", ("integer", "got '1.5'")),
]
# Whatever text these hold, only the server or the file system can say that it is wrong.
FREE = {"S3_CONNECTION", "S3_KMS_KEY_ID", "S3_ACL"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ENGAGEMENT_"):
            monkeypatch.delenv(name)


def _problems() -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load()
    message = str(caught.value)
    start = "wrong settings: "
    assert message.startswith(start)
    assert message.isprintable()
    return message.removeprefix(start).split("; ")


@pytest.mark.parametrize(
    ("name", "value", "words"), WRONG, ids=[f"{name}={value!r}" for name, value, _ in WRONG]
)
def test_a_wrong_setting_is_named(
    name: str, value: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ENGAGEMENT_{name}", value)
    [problem] = _problems()
    assert problem.startswith(f"ENGAGEMENT_{name}: ")
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [("TIMZONE", "TIMEZONE"), ("S3_ENCRYPT", "S3_ENCRYPTION"), ("DESTINATIONS", "DESTINATION")],
)
def test_a_misspelt_setting_is_named(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ENGAGEMENT_{name}", "UTC")
    assert _problems() == [f"ENGAGEMENT_{name} is no setting: expected ENGAGEMENT_{meant}"]


@pytest.mark.parametrize("name", ["SERVICE_HOST", "API_PORT", "S3_SERVICE_PORT", "X"])
def test_what_a_cluster_sets_for_its_services_is_no_matter(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ENGAGEMENT_{name}", "tcp://10.0.0.1:80")
    assert load() == Settings()


def test_every_setting_that_can_be_wrong_is_tried() -> None:
    assert {name for name, _, _ in WRONG} | FREE == {name.upper() for name in Settings.model_fields}


def test_all_wrong_settings_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {name: value for name, value, _ in WRONG}
    for name, value in wrong.items():
        monkeypatch.setenv(f"ENGAGEMENT_{name}", value)
    assert {problem.partition(":")[0] for problem in _problems()} == {
        f"ENGAGEMENT_{name}" for name in wrong
    }


@pytest.mark.parametrize(
    "address",
    [
        f"s3://key:{SECRET}@bucket/base",
        f"s3://key:{SECRET}/{SECRET}@bucket/base",
        f"s3://{SECRET}@bucket",
        f"https://key:{SECRET}@server/",
    ],
)
def test_a_login_in_the_destination_is_not_told(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGEMENT_DESTINATION", address)
    monkeypatch.setenv("ENGAGEMENT_THREADS", "0")
    problems = _problems()
    assert [problem.partition(":")[0] for problem in problems] == [
        "ENGAGEMENT_DESTINATION",
        "ENGAGEMENT_THREADS",
    ]
    assert "ENGAGEMENT_S3_CONNECTION" in problems[0]
    assert SECRET not in " ".join(problems)


@pytest.mark.parametrize(
    "address", [f"s3:key:{SECRET}@bucket", f"s3:/key:{SECRET}@bucket", f"https:{SECRET}@server"]
)
def test_nor_is_one_in_what_is_no_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGAGEMENT_DESTINATION", address)
    [problem] = _problems()
    assert "is neither a folder nor an s3:// address" in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    "address",
    [
        f"s3://key:{SECRET}@bucket/staging",
        f"s3://key:{SECRET}/{SECRET}@bucket/staging",
        f"s3://{SECRET}/{SECRET}@bucket/staging",
        f"s3://{SECRET}+{SECRET}@bucket/staging",
        f"https://key:{SECRET}@server/",
        f"https:key:{SECRET}@server",
        f"file://key:{SECRET}@server/folder",
    ],
)
def test_a_login_in_the_staging_area_is_not_told(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGEMENT_STAGING", address)
    [problem] = _problems()
    assert problem.startswith("ENGAGEMENT_STAGING: ")
    assert "Airflow connection" in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    ("staging", "destination"),
    [
        ("/reports", "/reports"),
        ("/reports/staging", "/reports"),
        ("/reports", "/reports/published"),
        ("/reports/published/../staging/", "/reports"),
        ("file:///reports/staging", "/reports"),
        ("/", "/reports"),
        ("~/reports", "~"),
        ("reports/staging", "reports"),
        (str(Path("reports/staging").absolute()), "reports"),
        ("", str(Path(Settings.model_fields["staging"].default).parent)),
        ("s3://bucket", "s3://bucket"),
        ("s3://connection@bucket/staging", "s3://bucket"),
        ("s3://connection@bucket/base/staging/", "s3://bucket/base"),
        ("s3://connection@bucket/base", "s3://bucket/base/below"),
        ("s3://connection@bucket", "s3://bucket/base/"),
    ],
)
def test_a_staging_area_in_or_around_the_destination(
    staging: str, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGEMENT_STAGING", staging)
    monkeypatch.setenv("ENGAGEMENT_DESTINATION", destination)
    [problem] = _problems()
    assert problem.startswith("ENGAGEMENT_STAGING: ")
    assert repr(destination) in problem
    assert "expected a place of its own" in problem


@pytest.mark.parametrize(
    ("staging", "destination"),
    [
        ("/reports", "/reports of us"),
        ("/data/staging", "/data/reports"),
        ("s3://connection@bucket/staging", "s3://bucket/base"),
        ("s3://connection@bucket/base-staging", "s3://bucket/base"),
        ("s3://connection@other/base", "s3://bucket/base"),
        ("/bucket/base", "s3://bucket/base"),
        ("s3://connection@bucket/base", "/bucket/base"),
    ],
)
def test_a_staging_area_of_its_own(
    staging: str, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGAGEMENT_STAGING", staging)
    monkeypatch.setenv("ENGAGEMENT_DESTINATION", destination)
    assert (load().staging, load().destination) == (staging, destination)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DESTINATION", "s3://bucket", "s3://bucket"),
        ("DESTINATION", "s3://bucket/base/below", "s3://bucket/base/below"),
        ("DESTINATION", "reports/of us@home", "reports/of us@home"),
        ("DESTINATION", "", str(Path.home() / "engagement-reports")),
        ("STAGING", "s3://a_connection.of-us@bucket/a/b", "s3://a_connection.of-us@bucket/a/b"),
        ("STAGING", "s3://bucket", "s3://bucket"),
        ("STAGING", "file:///a/b", "/a/b"),
        ("STAGING", "//a@b/c", "/a@b/c"),
        ("STAGING", "~/a", str(Path.home() / "a")),
        ("STAGING", "a/../b@c", str(Path("b@c").absolute())),
        ("S3_PREFIX", "a/b", "a/b/"),
        ("S3_PRESIGN_SECONDS", "604800", 604_800),
        ("SETTLE_MINUTES", "0", 0),
    ],
)
def test_right_settings_are_taken(
    name: str, value: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ENGAGEMENT_{name}", value)
    assert getattr(load(), name.lower()) == expected
