"""What fails with an S3 server, as errors that say what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engagement.errors import (
    ConfigurationError,
    EngagementError,
    PublishError,
    TemporaryError,
)

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

# What S3 servers answer, by what the reader can do about it.
_CREDENTIALS = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidSecurity",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403", "401"}
_REGION = {
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "301",
}
_SKEW = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_DAMAGED = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
}
_UNSUPPORTED = {
    "NotImplemented",
    "AccessControlListNotSupported",
    "InvalidEncryptionAlgorithmError",
    "InvalidArgument",
    "InvalidRequest",
}
_BUSY = {
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "OperationAborted",
}

MISSING = {"NoSuchKey", "NotFound", "404"}
"""What is answered where there is no such object."""
CHANGED = {"PreconditionFailed", "412"}
"""What is answered where an object is not, or is no longer, the one that was asked for."""


def error_code(error: ClientError) -> str:
    """The code of a server's answer; empty where it has none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def told_endpoint(url: str) -> str:
    """Scheme, host and port of a server, without what else its URL may hold."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def no_client(connection: str, error: Exception) -> ConfigurationError:
    """What to say where a connection, as the messages name it, makes no client."""
    return ConfigurationError(
        f"{connection} makes no S3 client ({type(error).__name__}): expected a region, credentials "
        "and, where it is not AWS, an endpoint_url that begins with http:// or https://"
    )


@dataclass(frozen=True, slots=True)
class S3Errors:
    """Errors of requests to one bucket, which the setting `setting` names.

    `endpoint` and `connection` are the server's address and the Airflow connection, as the
    messages name them; `options` names the request parameters that settings add, `key_setting` is
    the setting that can name an encryption key.
    """

    bucket: str
    setting: str
    endpoint: str
    connection: str
    options: Collection[str] = ()
    key_setting: str | None = None

    @contextmanager
    def during(self, doing: str) -> Iterator[None]:
        """Raise what the library raises as errors that say what is wrong and hold no secret."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._of_answer(error, doing) from None
        except BotoCoreError as error:
            raise self._of_no_answer(error, doing) from None

    def _of_answer(self, error: ClientError, doing: str) -> EngagementError:
        """The server's own error; its message is left out, because it can name access keys."""
        code = error_code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        failed = f"cannot {doing}: the S3 server {self.endpoint}"
        told = f"({code or 'no code'}, HTTP {status})"
        if code == "NoSuchBucket":
            return ConfigurationError(
                f"{failed} has no bucket {self.bucket!r}: create it or correct {self.setting}"
            )
        if code in _EXPIRED:
            return ConfigurationError(
                f"{failed} says that the credentials have expired {told}: renew those of "
                f"{self.connection}"
            )
        if code in _CREDENTIALS:
            return ConfigurationError(
                f"{failed} refuses the credentials {told}: correct access key and secret of "
                f"{self.connection}"
            )
        if code in _SKEW:
            return ConfigurationError(
                f"{failed} has another time {told}: set the clock of this machine"
            )
        if code in _REGION:
            return ConfigurationError(
                f"{failed} says that bucket {self.bucket!r} is in another region {told}: correct "
                f"region_name or endpoint_url of {self.connection}"
            )
        if code.startswith("KMS."):
            named = f"correct {self.key_setting} or" if self.key_setting else "correct"
            return ConfigurationError(
                f"{failed} cannot use the encryption key {told}: {named} the rights on that key"
            )
        if code in _DENIED:
            return ConfigurationError(
                f"{failed} denies access to bucket {self.bucket!r} {told}: give the user of "
                f"{self.connection} the rights to list the bucket and to read and write objects"
            )
        if code in _DAMAGED:
            return TemporaryError(
                f"{failed} got other bytes than were sent {told}, and kept none of them: try again"
            )
        if code in _BUSY or (status >= 500 and code != "NotImplemented"):
            return TemporaryError(f"{failed} is failing or busy {told}: try again later")
        if code in _UNSUPPORTED and self.options:
            asked = " and ".join(
                name
                for name, option in (
                    ("ENGAGEMENT_S3_ENCRYPTION", "ServerSideEncryption"),
                    ("ENGAGEMENT_S3_ACL", "ACL"),
                )
                if option in self.options
            )
            return ConfigurationError(f"{failed} does not do what is asked {told}: correct {asked}")
        return PublishError(
            f"{failed} refuses it {told}: expected an S3 server at the endpoint of "
            f"{self.connection}"
        )

    def _of_no_answer(self, error: BotoCoreError, doing: str) -> EngagementError:
        """A request that did not come to an answer."""
        from botocore import exceptions

        kind = type(error).__name__
        if isinstance(
            error,
            exceptions.NoCredentialsError
            | exceptions.PartialCredentialsError
            | exceptions.CredentialRetrievalError
            | exceptions.NoAuthTokenError,
        ):
            return ConfigurationError(
                f"cannot {doing}: no complete credentials ({kind}); set access key and secret in "
                f"{self.connection}"
            )
        if isinstance(error, exceptions.ParamValidationError):
            others = ", or ENGAGEMENT_S3_ACL" if "ACL" in self.options else ""
            return ConfigurationError(
                f"cannot {doing}: a value is not valid for S3; correct bucket {self.bucket!r} in "
                f"{self.setting}{others}"
            )
        if isinstance(error, exceptions.SSLError):
            return ConfigurationError(
                f"cannot {doing}: no trusted encrypted connection to {self.endpoint}; correct "
                f"endpoint_url or the certificates of {self.connection}"
            )
        if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
            return TemporaryError(
                f"cannot {doing}: the S3 server {self.endpoint} did not answer or broke off "
                f"({kind}); try again later, or correct endpoint_url of {self.connection}"
            )
        return PublishError(f"cannot {doing}: the S3 client failed ({kind})")
