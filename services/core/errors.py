"""Every expected failure: a named class with an HTTP status, a stable code and the cure in its sentence."""

from pathlib import Path


class PortraitError(Exception):
    """A failure that a caller can act on. `code` is stable; `detail` says what to do."""

    status = 500
    code = "internal"
    title = "Internal error"

    def __init__(self, detail: str, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra

    def problem(self) -> dict[str, object]:
        """The RFC 9457 problem details object."""
        return {
            "type": f"urn:portrait:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.extra,
        }


class InvalidInput(PortraitError):
    status, code, title = 422, "invalid-input", "The request is not valid"


class MalformedBody(PortraitError):
    status, code, title = 400, "malformed-body", "The body cannot be read"


class BodyTooLarge(PortraitError):
    status, code, title = 413, "body-too-large", "The body is too large"


class UnsupportedMedia(PortraitError):
    status, code, title = 415, "unsupported-media", "The media type is not supported"


class Unauthorised(PortraitError):
    status, code, title = 401, "unauthorised", "An API key is needed"


class NotFound(PortraitError):
    status, code, title = 404, "not-found", "Not found"


class Conflict(PortraitError):
    status, code, title = 409, "conflict", "Already under way"


class NotReady(PortraitError):
    status, code, title = 503, "not-ready", "Not ready yet"


class DependencyDown(PortraitError):
    status, code, title = 503, "dependency-down", "A server that Portrait needs does not answer"


class Overloaded(PortraitError):
    """More is asked than can be answered in time; nothing was done for this request."""

    status, code, title = 503, "overloaded", "Too much is asked at once"


class TooManyRequests(PortraitError):
    """One caller asks more often than it may."""

    status, code, title = 429, "too-many-requests", "Too many requests of this caller"


class ConfigurationError(PortraitError):
    status, code, title = 500, "configuration", "The configuration does not work"


class ImportFailed(PortraitError):
    """A file that cannot be imported: the detail names file, row and cure."""

    status, code, title = 422, "import-failed", "The file cannot be imported"


class CorruptArtefact(PortraitError):
    """A snapshot or model whose files do not match their manifest."""

    status, code, title = 500, "corrupt-artefact", "A stored artefact is damaged"


class NotRunning(PortraitError):
    status, code, title = 503, "not-running", "Portrait is not running"

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"No running stack found under {home}: start one with `portrait up`, or set PORTRAIT_DATABASE_URL and "
            "PORTRAIT_REDIS_URL"
        )
