"""The tantivy side of the index: fielded BM25 with pruning, phrases and exclusions, over our own terms.

Items are put in as tokens that are analysed already: all terms of a token share its position, so a phrase sees "18v
drill" as two neighbours. Nothing here parses a query's text.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from numpy.typing import NDArray

from services.search.config import FIELDS
from services.search.index.fields import AnalysedItems
from services.search.text.analyser import Token
from services.search.understanding import Alternative, Demand, QueryWord

KEY = "key"
HEAP_BYTES = 64_000_000
SHOULD, MUST, MUST_NOT = tantivy.Occur.Should, tantivy.Occur.Must, tantivy.Occur.MustNot


def create(folder: Path) -> None:
    """An empty index in `folder`."""
    folder.mkdir()
    builder = tantivy.SchemaBuilder().add_unsigned_field(KEY, indexed=True, fast=True)
    for name in FIELDS:
        builder = builder.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    tantivy.Index(builder.build(), str(folder))


def write(folder: Path, items: AnalysedItems, keys: NDArray[np.uint64], gone: NDArray[np.uint64]) -> None:
    """Take out the items with the keys `gone`, put in `items` with `keys` (m,), in one commit; one thread."""
    index = tantivy.Index.open(str(folder))
    writer = index.writer(HEAP_BYTES, 1)
    if gone.size:  # by query: deleting by the term of a number finds nothing in tantivy 0.27
        writer.delete_documents_by_query(tantivy.Query.term_set_query(index.schema, KEY, gone.tolist()))
    for row, key in enumerate(keys.tolist()):
        document = tantivy.Document()
        document.add_unsigned(KEY, key)
        for name in FIELDS:
            tokens = items.tokens[name][row]
            if tokens:
                document.add_pre_tokenized_text(name, _pre_tokenised(tokens))
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


class Engine:
    """One opened index. A searcher sees one state of it for ever."""

    def __init__(self, folder: Path) -> None:
        self._index = tantivy.Index.open(str(folder))
        self._schema = self._index.schema
        self._searcher = self._index.searcher()

    def best(
        self, words: Iterable[QueryWord], demands: Sequence[Demand], boosts: Mapping[str, float], limit: int
    ) -> NDArray[np.uint64]:
        """Keys of the items that match best, best first: BM25 summed over words and fields, under all demands.

        `boosts`: of the fields that are searched.
        """
        clauses = [(SHOULD, self._word(word, boosts)) for word in words]
        clauses += [self._demand(demand) for demand in demands]
        return self._keys(tantivy.Query.boolean_query(clauses), limit) if clauses else np.empty(0, np.uint64)

    def demanded(self, demands: Sequence[Demand]) -> NDArray[np.uint64]:
        """Keys of all items that satisfy the demands, in no order."""
        clauses = [self._demand(demand) for demand in demands]
        if all(demand.excluded for demand in demands):
            clauses.append((MUST, tantivy.Query.all_query()))
        return self._keys(tantivy.Query.boolean_query(clauses), max(self._searcher.num_docs, 1))

    def _keys(self, query: Any, limit: int) -> NDArray[np.uint64]:
        hits = self._searcher.search(query, limit, count=False).hits
        return np.array(self._searcher.fast_field_values(KEY, [address for _, address in hits]), np.uint64)

    def _word(self, word: QueryWord, boosts: Mapping[str, float]) -> Any:
        ways = [self._said(said, boosts) for said in word.alternatives]
        return ways[0] if len(ways) == 1 else tantivy.Query.disjunction_max_query(ways)

    def _said(self, said: Alternative, boosts: Mapping[str, float]) -> Any:
        """Any field that has all of the alternative's terms, each counted by the field's boost."""
        fields = []
        for name, boost in boosts.items():
            if boost > 0:
                terms = [(MUST, self._term(name, term)) for term in (said.term, *said.beside)]
                query = tantivy.Query.boolean_query(terms) if said.beside else terms[0][1]
                fields.append((SHOULD, tantivy.Query.boost_query(query, boost * said.weight)))
        return tantivy.Query.boolean_query(fields)

    def _demand(self, demand: Demand) -> tuple[Any, Any]:
        names = FIELDS if demand.field is None else (demand.field,)
        found = [(SHOULD, self._side_by_side(name, demand.terms)) for name in names]
        return MUST_NOT if demand.excluded else MUST, tantivy.Query.boolean_query(found)

    def _side_by_side(self, name: str, terms: Sequence[str]) -> Any:
        if len(terms) == 1:
            return self._term(name, terms[0])
        return tantivy.Query.phrase_query(self._schema, name, list(terms))

    def _term(self, name: str, term: str) -> Any:
        return tantivy.Query.term_query(self._schema, name, term)


def _pre_tokenised(tokens: Sequence[Token]) -> Any:
    make = tantivy.Token
    found = [make(term, position, 0, 0) for position, token in enumerate(tokens) for term in token.terms]
    return tantivy.PreTokenizedString("", found)
