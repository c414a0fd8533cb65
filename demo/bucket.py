"""The bucket of the S3 server that docker-compose.yaml starts."""

from __future__ import annotations

import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main() -> int:
    """Make the bucket `S3_BUCKET` where it is missing; server and keys are boto3's variables."""
    name = os.environ["S3_BUCKET"]
    client = boto3.client("s3")
    try:
        if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        sys.stderr.write(f"error: the bucket {name} cannot be made: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
