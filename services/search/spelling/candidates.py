"""What a doubtful word may have been meant as: a word spelt alike, two words run together, two words cut wrongly."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA
from rapidfuzz.process import cdist

from services.search.spelling.vocabulary import Vocabulary, allowed_edits
from services.search.text.analyser import Analyser, Kind, Token
from services.search.text.normal import folded

KEPT = 64
"""Of the words spelt alike, the most frequent ones are scored."""


@dataclass(frozen=True)
class CandidateConfig:
    """Costs in natural logarithms of counts."""

    edit_cost: float = 3.0
    """Of each letter left out, put in, replaced, or swapped with its neighbour; of a space as well."""
    first_letter_cost: float = 1.5
    """More, where the first letter differs: it is seldom wrong."""
    inflection_cost: float = 1.5
    """Of an inflection that no item has, of a word that items have."""
    context: float = 1.0
    min_part: int = 2
    """Letters of the parts of a word that is cut in two."""


@dataclass(frozen=True)
class Candidate:
    """`text` instead of the tokens `first` to `last`; `context`: the part of `score` that the other words give."""

    first: int
    last: int
    text: str
    score: float
    context: float


class Candidates:
    """Finds and scores candidates. `others` are the stems of the query's other words by their positions."""

    def __init__(self, vocabulary: Vocabulary, analyser: Analyser, config: CandidateConfig) -> None:
        self._vocabulary, self._analyser, self._config = vocabulary, analyser, config
        is_stop = analyser.is_stop
        self._meant = np.array([len(stem) > 1 and not is_stop(stem) for stem in vocabulary.stem_names], bool)

    def of(self, tokens: list[Token], at: int, others: Mapping[int, int]) -> Iterator[Candidate]:
        """The best candidates of each kind for the token at `at`."""
        word = folded(tokens[at].text)
        yield from self._alike(word, at, others)
        yield from self._cut(word, at, at, others, self._config.edit_cost, dropping=True)
        for first in (at - 1, at):
            pair = tokens[first : first + 2] if first >= 0 else []
            if len(pair) == 2 and all(token.kind is Kind.WORD for token in pair):
                whole = folded(pair[0].text + pair[1].text)
                beside = {other: stem for other, stem in others.items() if not first <= other <= first + 1}
                yield from self._whole(whole, first, beside)
                yield from self._cut(whole, first, first + 1, beside, self._config.edit_cost, dropping=False)

    def of_word(self, word: str, at: int, others: Mapping[int, int]) -> Candidate | None:
        """The word as it is; None when no item has it or another of its stem."""
        stem = self._vocabulary.stem_position.get(self._analyser.stem(word))
        if stem is None:
            return None
        count = self._vocabulary.count(word)
        cost = 0.0 if count else self._config.inflection_cost
        context = float(self._context(np.array([stem], np.int32), others)[0])
        score = np.log1p(count or int(self._vocabulary.stem_counts[stem])) + context - cost
        return Candidate(at, at, word, float(score), context)

    def _alike(self, word: str, at: int, others: Mapping[int, int]) -> Iterator[Candidate]:
        """The best-scoring word within the allowed edits."""
        found = self._vocabulary.near(word)
        found = found[self._meant[self._vocabulary.stems[found]]]
        if not found.size:
            return
        spelt = self._vocabulary.words_at(found)
        allowed = allowed_edits(len(word))
        edits = cdist([word], spelt, scorer=OSA.distance, score_cutoff=allowed, dtype=np.uint8)[0]
        near = np.flatnonzero((edits <= allowed) & (edits > 0))[:KEPT]  # positions ascend: the frequent ones come first
        if not near.size:
            return
        positions = found[near]
        first = np.array([spelt[i][0] != word[0] for i in near.tolist()])
        context = self._context(self._vocabulary.stems[positions], others)
        cost = self._config.edit_cost * edits[near] + self._config.first_letter_cost * first
        scores = np.log1p(self._vocabulary.counts[positions]) + context - cost
        best = int(scores.argmax())
        yield Candidate(at, at, spelt[int(near[best])], float(scores[best]), float(context[best]))

    def _whole(self, whole: str, first: int, others: Mapping[int, int]) -> Iterator[Candidate]:
        """Two words as one that items have."""
        count = self._vocabulary.count(whole)
        if count:
            stem = self._vocabulary.stems[[self._vocabulary.position[whole]]]
            context = float(self._context(stem, others)[0])
            yield Candidate(first, first + 1, whole, float(np.log1p(count)) + context - self._config.edit_cost, context)

    def _cut(
        self, letters: str, first: int, last: int, others: Mapping[int, int], cost: float, *, dropping: bool
    ) -> Iterator[Candidate]:
        """Letters as two words that stand together in titles; `dropping`: a letter may stand where a space should."""
        least = self._config.min_part
        best: Candidate | None = None
        for skipped in range(2 if dropping else 1):
            for cut in range(least, len(letters) - least - skipped + 1):
                left, right = letters[:cut], letters[cut + skipped :]
                score, context = self._pair(left, right, others)
                score -= cost * (1 + skipped / 2)
                if context and (best is None or score > best.score):
                    best = Candidate(first, last, f"{left} {right}", score, context)
        if best is not None:
            yield best

    def _pair(self, left: str, right: str, others: Mapping[int, int]) -> tuple[float, float]:
        """The score of two words side by side, and the context in it; zeros unless some title has them together."""
        position = self._vocabulary.position
        if left not in position or right not in position:
            return 0.0, 0.0
        at = [position[left], position[right]]
        stems = self._vocabulary.stems[at]
        together = float(np.log1p(self._vocabulary.together(stems[:1], int(stems[1]))[0]))
        if not together:
            return 0.0, 0.0
        context = together + float(self._context(stems, others).mean())
        return float(np.log1p(self._vocabulary.counts[at]).min()) + context, context

    def _context(self, stems: NDArray[np.int32], others: Mapping[int, int]) -> NDArray[np.float64]:
        total = np.zeros(stems.size)
        for other in others.values():
            total += np.log1p(self._vocabulary.together(stems, other))
        return self._config.context * total
