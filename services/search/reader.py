"""Reads a query: operators, correction, words with all their alternatives, intent."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from services.core.errors import InvalidInput
from services.search.config import SearchConfig
from services.search.intent import Intent
from services.search.matching import Matcher
from services.search.operators import ParsedQuery, parse
from services.search.request import MAX_QUERY, SearchRequest
from services.search.spelling.corrector import Correction, SpellingCorrector
from services.search.synonyms import Synonyms
from services.search.text.analyser import Analyser, Kind, Token
from services.search.text.normal import normalise
from services.search.understanding import Alternative, QueryWord, UnderstoodQuery

REMEMBERED_QUERIES = 4_096


class EmptyQuery(InvalidInput):
    """A query without a single letter or digit."""

    code = "empty-query"


class QueryTooLong(InvalidInput):
    """More than a search box holds."""

    code = "query-too-long"


class QueryReader:
    """Understands queries in the terms of one index and one snapshot."""

    def __init__(
        self,
        analyser: Analyser,
        corrector: SpellingCorrector,
        matcher: Matcher,
        intent: Intent,
        synonyms: Synonyms,
        config: SearchConfig,
    ) -> None:
        self._analyser, self._corrector, self._matcher = analyser, corrector, matcher
        self._intent, self._synonyms, self._config = intent, synonyms, config
        self._understood = lru_cache(maxsize=REMEMBERED_QUERIES)(self._read)

    def read(self, request: SearchRequest) -> UnderstoodQuery:
        """The query as it is searched for.

        Raises:
            EmptyQuery: nothing in it can be searched for.
            QueryTooLong: more than `MAX_QUERY` characters.
        """
        if len(request.query) > MAX_QUERY:
            raise QueryTooLong(f"The query has {len(request.query)} characters, at most {MAX_QUERY} are searched for")
        return self._understood(request.query, operators=request.operators, correct=request.correct)

    def _read(self, query: str, *, operators: bool, correct: bool) -> UnderstoodQuery:
        text = " ".join(normalise(query).split())
        parsed = parse(query, self._analyser) if operators else ParsedQuery(text, ())
        correction = self._correct(parsed, correct=correct)
        tokens = self._analyser.tokens_of_normalised(correction.text)
        if not tokens and not parsed.demands:
            raise EmptyQuery("The query has no letter and no digit: say what you look for")
        words = self._words(tokens, dict(correction.joins))
        terms = [word.alternatives[0].term for word in words]
        frequencies = [self._matcher.frequency(term) for term in terms]
        return UnderstoodQuery(
            text=text,
            searched=correction.text,
            words=words,
            corrected=correction.text if correction.changed else None,
            did_you_mean=correction.offered,
            categories=self._intent.categories(terms, frequencies),
            brands=self._intent.brands(terms, frequencies),
            demands=parsed.demands,
        )

    def _correct(self, parsed: ParsedQuery, *, correct: bool) -> Correction:
        """Nothing is corrected where that is not wanted, and what operators demand is meant as it is."""
        if not correct or parsed.demands:
            return Correction(" ".join(normalise(parsed.text).split()))
        return self._corrector.correct(parsed.text)

    def _words(self, tokens: Sequence[Token], joins: dict[int, str]) -> tuple[QueryWord, ...]:
        words: list[QueryWord] = []
        for at, token in enumerate(tokens):
            found = self._words_of(token)
            if at in joins:
                joined = Alternative(self._analyser.stem(joins[at]))
                found = [replace(word, alternatives=(*word.alternatives, joined)) for word in found]
            words += found
        distinct: dict[str, QueryWord] = {}
        for word in words:
            distinct.setdefault(word.alternatives[0].term, word)
        words = self._with_synonyms(list(distinct.values())[: self._config.max_words])
        if all(word.optional for word in words):
            words = [replace(word, optional=False) for word in words]
        return tuple(words)

    def _words_of(self, token: Token) -> list[QueryWord]:
        """The words that a token is searched as: one, or the parts of a model number that no item has whole, each of
        which counts by how much of the number it is."""
        first, parts = token.terms[0], token.terms[1:]
        if token.kind is Kind.MODEL and not self._matcher.knows(first):
            known = [part for part in parts if self._matcher.knows(part)]
            whole = sum(map(len, parts))
            pieces = [QueryWord(part, (Alternative(part, len(part) / whole),), token.kind) for part in known]
            return pieces or [self._word(token, ())]
        if token.kind is Kind.MEASURE:
            parts = parts[:1]
        elif token.kind is Kind.MODEL:
            parts = ()
        return [self._word(token, parts)]

    def _word(self, token: Token, parts: Sequence[str]) -> QueryWord:
        first = token.terms[0]
        others = tuple(Alternative(part, self._config.part_weight) for part in parts)
        return QueryWord(token.text, (Alternative(first), *others), token.kind, self._analyser.is_stop(first))

    def _with_synonyms(self, words: list[QueryWord]) -> list[QueryWord]:
        for first, last, other in self._synonyms.of([word.alternatives[0].term for word in words]):
            said = Alternative(other[0], self._config.synonym_weight, other[1:])
            for at in range(first, last + 1):
                if said not in words[at].alternatives:
                    words[at] = replace(words[at], alternatives=(*words[at].alternatives, said))
        return words
