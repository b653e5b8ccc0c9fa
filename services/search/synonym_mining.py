"""Proposes synonyms for a person to accept: pairs of words with the evidence for them.

Three kinds of evidence, each a number between 0 and 1:
- `neighbours`: words whose items lie near each other in the vector space, though they seldom share a title;
- `clicks`: queries that differ in one word, after which people open the same items;
- `spelling`: what is only another spelling is no synonym, so pairs a letter apart are left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import OSA

from services.search.index.postings import Postings, term_hash
from services.search.spelling.vocabulary import Vocabulary
from services.search.text.analyser import Analyser

FloatArray = NDArray[np.float32]

MOST_ALIKE = 0.75
"""Share of the letters that two words may have in common."""


@dataclass(frozen=True)
class MiningConfig:
    """What a pair needs before it is proposed."""

    least_items: int = 5
    """Titles that must have each word."""
    most_words: int = 3_000
    """The most frequent words are compared."""
    least_cosine: float = 0.75
    """Between the mean vectors of the two words' items, with the catalogue's mean taken out."""
    most_together: float = 0.05
    """Of the rarer word's titles that may have the other word too: synonyms stand in for each other."""
    least_clicks: int = 3
    """Items that people opened after both queries."""
    least_overlap: float = 0.3
    """Cosine of the clicks after both queries."""
    per_word: int = 3
    """Proposals for one word."""


@dataclass(frozen=True)
class Proposal:
    """`first`, `second`: words or phrases that may mean the same. `evidence`: "neighbours" or "clicks"; `score` 0–1.

    `items`: how many items have each word (or were opened after each query); `together`: how many have both.
    """

    first: str
    second: str
    evidence: str
    score: float
    items: tuple[int, int]
    together: int


@dataclass(frozen=True)
class QueryClicks:
    """How often an item was opened after a query."""

    query: str
    item_id: str
    clicks: float


def propose_from_vectors(
    vocabulary: Vocabulary,
    postings: Postings,
    vectors: FloatArray,
    analyser: Analyser,
    config: MiningConfig | None = None,
) -> list[Proposal]:
    """Pairs of title words whose items mean the same, best first.

    `vectors` float32 (m, D): of the index's rows, L2-normalised, zero where an item has none.
    """
    config = MiningConfig() if config is None else config
    words = _compared(vocabulary, analyser, config)
    if len(words) < 2 or not vectors.size:
        return []
    holders = [_titles_with(word, postings, analyser) for word in words]
    means = _means(holders, vectors)
    cosine = means @ means.T
    np.fill_diagonal(cosine, -1)
    found: list[Proposal] = []
    for at, word in enumerate(words):
        nearest = np.argpartition(-cosine[at], min(10, len(words) - 1))[:10]
        kept = 0
        for other in nearest[np.argsort(-cosine[at, nearest])].tolist():
            if kept == config.per_word or cosine[at, other] < config.least_cosine:
                break
            together = np.intersect1d(holders[at], holders[other], assume_unique=True).size
            sizes = holders[at].size, holders[other].size
            if _alike(word, words[other]) or together > config.most_together * min(sizes):
                continue
            kept += 1
            score = round(float(cosine[at, other]), 4)
            found.append(_ordered(Proposal(word, words[other], "neighbours", score, sizes, together)))
    return _distinct(found)


def propose_from_clicks(
    clicks: Iterable[QueryClicks], analyser: Analyser, config: MiningConfig | None = None
) -> list[Proposal]:
    """Pairs of words in which two queries differ that lead to the same items, best first."""
    config = MiningConfig() if config is None else config
    opened: dict[tuple[str, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    spelt: dict[str, str] = {}
    for row in clicks:
        tokens = analyser.tokens(row.query)
        spelt |= {token.terms[0]: token.text for token in tokens}
        opened[tuple(token.terms[0] for token in tokens)][row.item_id] += row.clicks
    holes: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for terms in opened:
        for at, term in enumerate(terms):
            holes[(*terms[:at], "", *terms[at + 1 :])].append((term, terms))
    found = []
    for fillings in holes.values():
        for i, (first, one) in enumerate(fillings):
            for second, other in fillings[i + 1 :]:
                both = opened[one].keys() & opened[other].keys()
                score = _overlap(opened[one], opened[other])
                told = len(both) >= config.least_clicks and score >= config.least_overlap
                if told and not _alike(spelt[first], spelt[second]):
                    sizes = (len(opened[one]), len(opened[other]))
                    found.append(Proposal(spelt[first], spelt[second], "clicks", round(score, 4), sizes, len(both)))
    return _distinct(found)


def _compared(vocabulary: Vocabulary, analyser: Analyser, config: MiningConfig) -> list[str]:
    """The most frequent words, one of each stem."""
    found: dict[str, str] = {}
    for word, count in zip(vocabulary.words, vocabulary.counts.tolist(), strict=True):
        stem = analyser.stem(word)
        if count < config.least_items or len(found) == config.most_words:
            break
        if len(word) > 2 and not analyser.is_stop(stem):
            found.setdefault(stem, word)
    return list(found.values())


def _titles_with(word: str, postings: Postings, analyser: Analyser) -> NDArray[np.int32]:
    """Rows of the items whose title has the word's stem, ascending."""
    title = postings.fields["title"]
    wanted = np.uint64(term_hash(analyser.stem(word)))
    at = int(np.searchsorted(postings.terms, wanted))
    known = at < postings.terms.size and postings.terms[at] == wanted
    return title.rows[title.indptr[at] : title.indptr[at + 1]] if known else title.rows[:0]


def _means(holders: Sequence[NDArray[np.int32]], vectors: FloatArray) -> FloatArray:
    """The mean vector of the items of each word, the catalogue's mean taken out, of length 1; zeros without items."""
    centre = vectors.mean(axis=0)
    means = np.zeros((len(holders), vectors.shape[1]), np.float32)
    for at, rows in enumerate(holders):
        if rows.size:
            means[at] = vectors[rows].mean(axis=0) - centre
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6)


def _alike(word: str, other: str) -> bool:
    """Whether one may be a spelling of the other."""
    return OSA.normalized_similarity(word, other) > MOST_ALIKE


def _ordered(proposal: Proposal) -> Proposal:
    """The same with its words in alphabetical order."""
    if proposal.first <= proposal.second:
        return proposal
    return replace(proposal, first=proposal.second, second=proposal.first, items=proposal.items[::-1])


def _overlap(one: dict[str, float], other: dict[str, float]) -> float:
    """Cosine of two bags of clicks."""
    dot = sum(clicks * other.get(item, 0.0) for item, clicks in one.items())
    sizes = [float(np.sqrt(sum(clicks * clicks for clicks in bag.values()))) for bag in (one, other)]
    return dot / (sizes[0] * sizes[1]) if all(sizes) else 0.0


def _distinct(found: list[Proposal]) -> list[Proposal]:
    best: dict[frozenset[str], Proposal] = {}
    for proposal in found:
        key = frozenset((proposal.first, proposal.second))
        if len(key) == 2 and (key not in best or proposal.score > best[key].score):
            best[key] = proposal
    return sorted(best.values(), key=lambda proposal: (-proposal.score, proposal.first, proposal.second))
