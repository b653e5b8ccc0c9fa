"""API keys: who may ask."""

import hmac

from services.core.errors import Unauthorised


class Keys:
    """The accepted keys; without any, everybody may ask (the gateway then listens on loopback alone)."""

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = tuple(key.encode() for key in sorted(keys))

    def check(self, headers: dict[bytes, bytes]) -> bytes | None:
        """The key that was sent; None where none is needed. Every key is compared, in constant time.

        Raises:
            Unauthorised: no key, or not one of ours.
        """
        if not self._keys:
            return None
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        if not any(matches):
            raise Unauthorised("Send one of PORTRAIT_API_KEYS as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        return given
