"""The 128-bit key that makes an event id unique."""

import hashlib
from collections.abc import Iterable


def event_key(event_id: str) -> bytes:
    """The 16-byte BLAKE2b digest of an event id: fixed width, so that the unique index stays small."""
    return hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def event_keys(event_ids: Iterable[str]) -> list[str]:
    """Keys of many event ids as 32 hexadecimal digits each, which PostgreSQL reads as `uuid`."""
    blake2b = hashlib.blake2b
    return [blake2b(e.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest() for e in event_ids]
