"""A place in S3-compatible object storage."""

from __future__ import annotations

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
        return self._ask("get_object", name)

    def write(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all. Raises what `read` raises."""
        self._ask("put_object", name, Body=content)

    def _ask(self, method: str, name: str, **more: bytes) -> bytes | None:
        key = f"{self.prefix}/{name}" if self.prefix else name
        try:
            answer = getattr(self.client, method)(Bucket=self.name, Key=key, **more)
            return answer["Body"].read() if "Body" in answer else None
        except self.client.exceptions.NoSuchKey:
            return None
        except ClientError as error:
            code = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            problem = f"the object storage refuses the bucket '{self.name}': {error}"
            hint = _HINTS.get(code, "check region, endpoint and keys of the storage.")
            raise TokentrailsError(problem, where=self.address, hint=hint) from error
        except BotoCoreError as error:
            raise TokentrailsError(
                f"the object storage cannot be used: {error}",
                where=self.address,
                hint="check the address of the endpoint, and that keys are given.",
            ) from error
