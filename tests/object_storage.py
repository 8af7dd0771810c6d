"""A stand-in for S3-compatible object storage on loopback."""

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

KEYS = {"ACCESS_KEY": "someone", "SECRET_KEY": "known-to-nobody"}


class ObjectStorage:
    """What the server at an address holds.

    Attributes
    ----------
    env: what Snakemake's storage plugin needs to know of it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        settings = KEYS | {"ENDPOINT_URL": url}
        self.env = {f"SNAKEMAKE_STORAGE_S3_{key}": value for key, value in settings.items()}
        self.s3 = boto3.resource(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEYS["ACCESS_KEY"],
            aws_secret_access_key=KEYS["SECRET_KEY"],
        )

    def make_bucket(self, name: str) -> None:
        self.s3.create_bucket(Bucket=name)

    def holds(self, bucket: str, name: str) -> bool:
        return any(o.key == name for o in self.s3.Bucket(bucket).objects.filter(Prefix=name))

    def contents(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """The objects below a prefix, by their names behind it."""
        found = self.s3.Bucket(bucket).objects.filter(Prefix=f"{prefix}/")
        return {o.key.removeprefix(f"{prefix}/"): o.get()["Body"].read() for o in found}

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse every key for a while."""
        self._check_keys_after("0")
        try:
            yield
        finally:
            self._check_keys_after("inf")

    def _check_keys_after(self, requests: str) -> None:
        to = f"{self.url}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(to, requests.encode(), plain)).close()


@contextmanager
def serving(folder: Path) -> Iterator[ObjectStorage]:
    """An empty storage on a free port, as long as the block lasts; its log goes into the folder."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield ObjectStorage(_address(server, log))
    finally:
        server.terminate()
        server.wait()


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(1_200):
        if said := re.search(r"Running on (http://\S+)", log.read_text()):
            return said[1]
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"the server does not start: {log.read_text()}")
