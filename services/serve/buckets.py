"""Shares of users and requests: the same ones always, evenly, by a hash of their ids."""

import hashlib

BUCKETS = 10_000


def bucket(name: str) -> int:
    """0 to 9,999, evenly."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % BUCKETS


def in_share(name: str, share: float) -> bool:
    """Whether a user or request is one of this share (0–1) of them."""
    return bucket(name) < share * BUCKETS
