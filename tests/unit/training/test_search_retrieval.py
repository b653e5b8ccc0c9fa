"""Recall over a whole catalogue: which queries and products count, and what plain BM25 finds."""

from pathlib import Path

import numpy as np
import pytest

from training.plain_bm25 import PlainBM25
from training.search_judgements import Judgements, read_judgements
from training.search_retrieval import (
    RetrievalProtocol,
    measure,
    measured_queries,
    retrieval_document,
    retrieval_markdown,
)


@pytest.fixture
def judged(tmp_path: Path) -> Judgements:
    """Two queries with good products and one without."""
    lines = ["query,item_id,title,grade", "lamp,a,Brass lamp,3", "lamp,b,Oil lamp,2.5", "lamp,c,Rug,1"]
    lines += ["rug,c,Rug,3", "rug,a,Brass lamp,1", "vase,b,Oil lamp,1"]
    (tmp_path / "judged.csv").write_text("\n".join(lines))
    return read_judgements(tmp_path / "judged.csv")


def test_recall_is_the_share_of_a_querys_good_products(judged: Judgements) -> None:
    protocol = RetrievalProtocol()
    assert [judged.queries[query] for query in measured_queries(judged, protocol)] == ["lamp", "rug"]
    found = {"lamp": np.array([0, 2]), "rug": np.array([2])}
    result = measure("half", lambda query: found[judged.queries[query]], judged, protocol)
    assert result.per_query["recall@100"].tolist() == [0.5, 1.0] and result.metrics["recall@10"].mean == 0.75


def test_queries_that_were_chosen_on_can_be_left_out(judged: Judgements) -> None:
    first = measured_queries(judged, RetrievalProtocol(queries=1))
    rest = measured_queries(judged, RetrievalProtocol(skip=1))
    assert sorted([*first, *rest]) == measured_queries(judged, RetrievalProtocol()).tolist()


def test_the_last_is_compared_with_each_other_query_by_query(judged: Judgements) -> None:
    protocol = RetrievalProtocol()
    nothing = measure("nothing", lambda query: np.empty(0, np.int64), judged, protocol)
    everything = measure("everything", lambda query: np.arange(3), judged, protocol)
    document = retrieval_document(judged, protocol, [nothing, everything])
    assert [model["name"] for model in document["models"]] == ["nothing", "everything"]
    assert document["data"]["evaluated_queries"] == 2
    (gap,) = document["differences"]
    assert (gap["model"], gap["than"], gap["recall@100"]["mean"]) == ("everything", "nothing", 1.0)
    assert "everything over nothing" in retrieval_markdown(judged, protocol, [nothing, everything])


def test_plain_bm25_finds_what_holds_a_word_the_best_first() -> None:
    plain = PlainBM25(["Brass lamp", "Oil lamp with a brass lamp shade", "Rug"])
    assert plain.best("LAMP brass", 10).tolist() == [0, 1]
    assert plain.best("vase", 10).tolist() == []
