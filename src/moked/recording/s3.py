"""Parts in an S3-compatible store (AWS, MinIO, Cloudflare R2, Wasabi, ...). The only file that imports obstore."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore import exceptions
from obstore import store as stores

from moked.errors import Failure, ProviderError


@dataclass(frozen=True, slots=True)
class S3Place:
    """`endpoint` '' is AWS. The bucket has to exist; `prefix` keeps several installations in one apart."""

    bucket: str
    key_id: str
    secret: str
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = "moked"


class S3Store:
    """Two tries and `timeout_s` a request: who plays a recording waits for it."""

    name = "s3"

    def __init__(self, place: S3Place, *, timeout_s: float = 10.0) -> None:
        self._store = stores.S3Store(
            place.bucket,
            prefix=place.prefix or None,
            region=place.region,
            access_key_id=place.key_id,
            secret_access_key=place.secret,
            endpoint=place.endpoint or f"https://s3.{place.region}.amazonaws.com",
            disable_bulk_delete=True,  # not every store has it
            client_options={
                "allow_http": place.endpoint.startswith("http://"),
                "timeout": timedelta(seconds=timeout_s),
                "connect_timeout": timedelta(seconds=timeout_s / 2),
            },
            retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=2 * timeout_s)},
        )

    def put(self, name: str, path: Path) -> None:
        with _failures():
            obstore.put(self._store, name, path)

    def read(self, name: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""
        try:
            with _failures():
                return bytes(obstore.get_range(self._store, name, start=start, length=length))
        except _NotThere:
            return b""

    def size(self, name: str) -> int:
        try:
            with _failures():
                return int(obstore.head(self._store, name)["size"])
        except _NotThere:
            return 0

    def delete(self, name: str) -> None:
        with suppress(_NotThere), _failures():
            obstore.delete(self._store, name)


class _NotThere(ProviderError):
    """Neither the object nor, perhaps, the bucket."""


@contextmanager
def _failures() -> Iterator[None]:
    """obstore's errors as ours."""
    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        raise _NotThere("s3", Failure.CONFIG, "there is no such object or bucket") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, PermissionError) as error:
        raise ProviderError("s3", Failure.AUTH, "the key is refused") from error
    except exceptions.BaseError as error:
        raise ProviderError("s3", Failure.UNAVAILABLE, type(error).__name__) from error
