"""Corrects a query's words by a noisy channel: how common a word is, how well it fits its neighbours, how far it is.

score(candidate) = ln(1 + items with it) + context · Σ ln(1 + titles with it near each other word) − cost of the edits
(Kernighan, Church and Gale, 1990, with pair counts for the context).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from services.search.spelling.candidates import Candidate, CandidateConfig, Candidates
from services.search.spelling.vocabulary import Vocabulary
from services.search.text.analyser import Analyser, Kind, Token
from services.search.text.normal import folded, normalise


@dataclass(frozen=True)
class SpellingConfig:
    """Thresholds in natural logarithms of counts."""

    frequent: int = 20
    """A word so many items have is right."""
    certain: float = -3.0
    """An unknown word is replaced when the best candidate scores at least this; below it, the candidate is offered."""
    certain_short: float = 1.0
    """The same for words of up to four letters, which have many neighbours."""
    better: float = 4.0
    """A rare word's candidate is offered when it scores so much more."""
    much_better: float = 6.0
    """It is searched for when it scores so much more, and the word itself stands beside none of the others."""
    most_words: int = 32
    """Words of a query that are looked at, the first ones: further ones are not searched for, and the time that each
    takes grows with their number."""
    candidates: CandidateConfig = field(default_factory=CandidateConfig)


@dataclass(frozen=True)
class Correction:
    """`text`: what to search for, normalised: corrected where that was certain. `changed`: whether it was.

    `offered`: the query with what is less certain put right too, None without such. `joins`: for a token of `text` (its
    position) the word that it makes with the one before or after: "dish", "washer" → dishwasher.
    """

    text: str
    changed: bool = False
    offered: str | None = None
    joins: tuple[tuple[int, str], ...] = ()


class SpellingCorrector:
    """Corrects queries against one vocabulary. No state between queries."""

    def __init__(self, vocabulary: Vocabulary, analyser: Analyser, config: SpellingConfig | None = None) -> None:
        self.vocabulary = vocabulary
        self._analyser = analyser
        self._config = SpellingConfig() if config is None else config
        self._candidates = Candidates(vocabulary, analyser, self._config.candidates)

    @classmethod
    def of_titles(cls, titles: Iterable[str], analyser: Analyser | None = None) -> "SpellingCorrector":
        """A corrector with the vocabulary of some titles."""
        analyser = Analyser() if analyser is None else analyser
        return cls(Vocabulary.of_texts(titles, analyser), analyser)

    def correct(self, query: str) -> Correction:
        """The correction of a query. Numbers, measures, model numbers and frequent words are never touched."""
        text = normalise(query)
        tokens = self._analyser.tokens_of_normalised(text)
        applied: dict[int, Candidate] = {}
        offered: dict[int, Candidate] = {}
        beginning = tokens[: self._config.most_words]
        for at, token in enumerate(beginning):
            if at not in applied and self._doubtful(token):
                candidate, sure = self._choose(beginning, at, applied)
                if candidate is not None:
                    chosen = applied if sure else offered
                    chosen |= dict.fromkeys(range(candidate.first, candidate.last + 1), candidate)
        corrected = _replaced(text, tokens, applied)
        suggestion = _replaced(text, tokens, offered | applied) if offered else None
        final = self._analyser.tokens_of_normalised(corrected) if applied else tokens
        return Correction(corrected, bool(applied), suggestion, self._joins(final))

    def _doubtful(self, token: Token) -> bool:
        """Whether a token is a word that few items have."""
        if token.kind is not Kind.WORD or len(token.text) < 3 or self._analyser.is_stop(token.terms[0]):
            return False
        return self.vocabulary.count(folded(token.text)) < self._config.frequent

    def _choose(self, tokens: list[Token], at: int, applied: dict[int, Candidate]) -> tuple[Candidate | None, bool]:
        """The best replacement of a word, and whether it is certain enough to search for."""
        others = self._others(tokens, at, applied)
        word = folded(tokens[at].text)
        own = self._candidates.of_word(word, at, others)
        best = max(self._candidates.of(tokens, at, others), key=lambda found: found.score, default=None)
        if best is None or self._analyser.terms(best.text) == [self._analyser.stem(word)]:
            return None, False
        if own is None:
            least = self._config.certain if len(word) > 4 else self._config.certain_short
            return best, best.score >= least
        gain = best.score - own.score
        if gain < self._config.better:
            return None, False
        return best, gain >= self._config.much_better and own.context == 0 and best.context > 0

    def _joins(self, tokens: list[Token]) -> tuple[tuple[int, str], ...]:
        """Neighbouring words that items write as one."""
        found: list[tuple[int, str]] = []
        for at, (left, right) in enumerate(pairwise(tokens)):
            if left.kind is Kind.WORD and right.kind is Kind.WORD:
                whole = folded(left.text + right.text)
                if len(whole) > 5 and self.vocabulary.count(whole) > 1:
                    found += [(at, whole), (at + 1, whole)]
        return tuple(found)

    def _others(self, tokens: list[Token], at: int, applied: dict[int, Candidate]) -> dict[int, int]:
        """By position of the query's other words the stem of each that the shop knows."""
        found: dict[int, int] = {}
        for other, token in enumerate(tokens):
            if other == at or token.kind is not Kind.WORD or self._analyser.is_stop(token.terms[0]):
                continue
            spelt = applied[other].text.split(" ")[0] if other in applied else token.text
            position = self.vocabulary.stem_position.get(self._analyser.stem(spelt))
            if position is not None:
                found[other] = position
        return found


def _replaced(text: str, tokens: list[Token], chosen: dict[int, Candidate]) -> str:
    """The text with some tokens put otherwise; white space as single spaces."""
    parts: list[str] = []
    end = at = 0
    while at < len(tokens):
        last = chosen[at].last if at in chosen else at
        written = chosen[at].text if at in chosen else text[tokens[at].start : tokens[at].end]
        parts += [text[end : tokens[at].start], written]
        end, at = tokens[last].end, last + 1
    return " ".join("".join([*parts, text[end:]]).split())
