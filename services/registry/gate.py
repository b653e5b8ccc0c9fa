"""Whether a model may take another's place."""

from dataclasses import dataclass

from services.registry.manifest import MODELS, SEARCH_RANKER, ModelManifest

METRIC = "ndcg@10"
BASELINES = {MODELS: "the linear blend", SEARCH_RANKER: "the untrained ranker"}
"""What each kind of model is measured against: what serves without one."""


@dataclass(frozen=True)
class Verdict:
    """`reason` says in one sentence what was compared."""

    passes: bool
    reason: str


def judge(candidate: ModelManifest, champion: ModelManifest | None) -> Verdict:
    """A candidate passes unless it is worse than the champion beyond the champion's interval.

    Measured on the same events both are compared directly. Else their gains over the linear blend are, which each
    measured on its own held-out users: shops change, and figures of different weeks are not comparable. Without a
    champion the linear blend itself is the one to be not worse than. For search rankers it is the untrained ranker.
    """
    baseline = BASELINES[candidate.kind]
    if champion is None:
        passes = candidate.gain.high >= 1.0
        said = f"{METRIC} is {_times(candidate)} that of {baseline}"
    elif champion.data.digest == candidate.data.digest:
        ours, theirs = candidate.metrics[METRIC], champion.metrics[METRIC]
        passes = ours.mean >= theirs.low
        said = f"{METRIC} {ours.mean:.4f} against {theirs.mean:.4f} ({theirs.low:.4f}–{theirs.high:.4f}), same events"
    else:
        passes = candidate.gain.mean >= champion.gain.low
        said = (
            f"{METRIC} over that of {baseline}: {_times(candidate)} against {_times(champion)}, on events of their own"
        )
    return Verdict(passes, said)


def _times(manifest: ModelManifest) -> str:
    gain = manifest.gain
    return f"{gain.mean:.3f} ({gain.low:.3f}–{gain.high:.3f}) times"
