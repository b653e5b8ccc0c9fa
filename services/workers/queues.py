"""Which queue carries which work."""

from services.core.types import JobKind

GPU = "gpu"
CPU = "cpu"
IO = "io"
LIVE = "live"

RUN_JOB = "portrait.run_job"
REQUEST_DUE = "portrait.request_due"
SWEEP = "portrait.sweep"
HELP = "portrait.help_recompute"
TAIL = "portrait.tail"
ENGAGEMENT = "portrait.engagement"

QUEUE_OF: dict[JobKind, str] = {
    JobKind.EMBEDDINGS: GPU,
    JobKind.TRAIN: GPU,
    JobKind.PROFILES: CPU,
    JobKind.FEATURES: CPU,
    JobKind.SNAPSHOT: CPU,
    JobKind.SEARCH: CPU,
    JobKind.MATERIALIZE: IO,
}
