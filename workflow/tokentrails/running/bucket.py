"""A place in S3-compatible object storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from ..errors import TokentrailsError

_HINTS = {
    403: "check the access key and the secret key, and that they may list, read and write there.",
    404: "make the bucket first, or correct default-storage-prefix.",
}


class Bucket:
    """Objects below a prefix in a bucket.

    Parameters
    ----------
    client: boto3's S3 client.
    address: `s3://bucket/prefix`.
    """

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address.rstrip("/")
        parts = urlsplit(self.address)
        self.name, self.prefix = parts.netloc, parts.path.strip("/")

    def read(self, name: str) -> bytes | None:
        """An object; None if there is none.

        Raises
        ------
        TokentrailsError: if the bucket is not there, does not answer, or refuses the keys.
        """
        with self._answering():
            try:
                answer = self.client.get_object(Bucket=self.name, Key=self._key(name))
                return answer["Body"].read()
            except self.client.exceptions.NoSuchKey:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all. Raises what `read` raises."""
        with self._answering():
            self.client.put_object(Bucket=self.name, Key=self._key(name), Body=content)

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            raise TokentrailsError(
                f"the object storage refuses the bucket '{self.name}': {error}",
                where=self.address,
                hint=_HINTS.get(code, "check region, endpoint and keys of the storage."),
            ) from error
        except BotoCoreError as error:
            raise TokentrailsError(
                f"the object storage cannot be used: {error}",
                where=self.address,
                hint="check the address of the endpoint, and that keys are given.",
            ) from error
