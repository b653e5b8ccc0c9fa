"""Why an item is in a page: the words that it holds, how near its meaning is, and what the ranker made of the rest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.search.ranking import RankedScores, RankingInput

LEAST_COSINE = 0.2


def reasons_of(items: NDArray[np.int32], asked: RankingInput, ranked: RankedScores) -> list[list[dict[str, Any]]]:
    """A list of reasons for each of some items int32 (n,); empty for those that were not ranked."""
    found = asked.candidates
    at = np.searchsorted(found.indices, items)
    at[at == len(found)] = 0
    known = found.indices[at] == items if len(found) else np.zeros(items.size, bool)
    return [_of_candidate(int(position), asked, ranked) if ok else [] for position, ok in zip(at, known, strict=True)]


def _of_candidate(at: int, asked: RankingInput, ranked: RankedScores) -> list[dict[str, Any]]:
    found, reasons = asked.candidates, []
    held = found.found[at] > 0
    if held.any():
        words = [word.text for word, holds in zip(asked.query.words, held.tolist(), strict=True) if holds]
        reasons.append({"type": "words", "words": words, "score": round(float(found.lexical[at]), 4)})
    if found.dense[at] >= LEAST_COSINE:
        reasons.append({"type": "meaning", "cosine": round(float(found.dense[at]), 4)})
    shares = {
        name: round(float(value), 4)
        for name, value in zip(ranked.names, ranked.contributions[at], strict=True)
        if abs(value) > 1e-4
    }
    return [*reasons, {"type": "ranking", "contributions": shares}]
