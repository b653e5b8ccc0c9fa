"""Which paths are which kind of work, for the gateway and for the HAProxy in front of it."""

PROBES = ("healthz", "readyz", "openapi.json", "docs")

OPEN_PATHS = frozenset(path for name in PROBES for path in (f"/{name}", f"/v1/{name}"))
"""What needs no key: probes, and the description of the interface."""

ALWAYS = OPEN_PATHS | {"/metrics", "/v1/metrics"}
"""What is never shed: a gateway that is overloaded must say so."""

HOT_PATHS = frozenset({"/v1/recommendations", "/v1/rank", "/v1/search", "/v1/suggest"})
EVENTS_PATH = "/v1/events"
HOT_ENDS = ("/profile", "/similar")
"""What is answered from memory and the online store: the reads. Everything else waits for PostgreSQL: the writes."""


def is_hot(path: str) -> bool:
    """Whether a path belongs to the reads."""
    return path in HOT_PATHS or path.endswith(HOT_ENDS)
