"""What beat asks for, and how often. Each entry only looks whether work is due; work that is not costs one query."""

from celery.schedules import crontab

from services.core.types import JobKind
from services.workers.queues import ENGAGEMENT, IO, LIVE, REQUEST_DUE, SWEEP, TAIL

DUTIES_S = 15.0
"""Workers ask for their duties themselves when they start and as they do them (services/workers/tasks.py): this is for
a broker that lost its queues."""

_IO = {"queue": IO, "expires": 30}


def _due(kind: JobKind, parameters: dict | None = None) -> dict:
    return {"task": REQUEST_DUE, "args": (kind.value, parameters or {}), "options": _IO}


BEAT_SCHEDULE: dict[str, dict] = {
    "tail-events": {"schedule": DUTIES_S, "task": TAIL, "options": {"queue": LIVE}},
    "keep-engagement": {"schedule": DUTIES_S, "task": ENGAGEMENT, "options": {"queue": LIVE}},
    "embed-changed-items": {"schedule": 10.0, **_due(JobKind.EMBEDDINGS)},
    "try-failed-media-again": {
        "schedule": crontab(hour=2, minute=50),
        **_due(JobKind.EMBEDDINGS, {"retry": True}),
    },
    "update-changed-portraits": {"schedule": 60.0, **_due(JobKind.PROFILES, {"mode": "changed"})},
    "rebuild-snapshot": {"schedule": 30.0, **_due(JobKind.SNAPSHOT)},
    "update-search": {"schedule": 20.0, **_due(JobKind.SEARCH)},
    "materialize-readable-views": {"schedule": 60.0, **_due(JobKind.MATERIALIZE, {"mode": "new"})},
    "refresh-features": {"schedule": 300.0, **_due(JobKind.FEATURES)},
    "recompute-all-portraits": {
        "schedule": crontab(hour=3, minute=30),
        **_due(JobKind.PROFILES, {"mode": "all"}),
    },
    "recount-searches": {"schedule": crontab(hour=4, minute=10), **_due(JobKind.SEARCH, {"mode": "all"})},
    "check-engagement": {"schedule": crontab(hour=3, minute=50), **_due(JobKind.FEATURES, {"mode": "check"})},
    "sweep-lost-jobs": {"schedule": 30.0, "task": SWEEP, "options": _IO},
}
