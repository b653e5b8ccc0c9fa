from pathlib import Path

import numpy as np
import pytest

from services.core.errors import ConfigurationError, CorruptArtefact, NotFound
from services.search.index.postings import count_terms, postings_of
from services.search.spelling.vocabulary import Vocabulary
from services.search.synonym_mining import (
    MiningConfig,
    Proposal,
    QueryClicks,
    propose_from_clicks,
    propose_from_vectors,
)
from services.search.synonym_proposals import PROPOSALS, accept, read_proposals, write_proposals
from services.search.synonyms import FILE, SynonymFile, Synonyms
from services.search.text.analyser import Analyser

ANALYSER = Analyser()
PAIR = Proposal("couch", "sofa", "neighbours", 0.9, (9, 8), 0)


def test_groups_work_both_ways_and_one_way_pairs_do_not() -> None:
    synonyms = Synonyms(SynonymFile((("Couches", "sofa"),), {"laptop": ("notebook",)}), ANALYSER)
    assert synonyms.of(["couch"]) == [(0, 0, ("sofa",))]
    assert synonyms.of(["red", "sofa"]) == [(1, 1, ("couch",))]
    assert synonyms.of(["laptop"]) == [(0, 0, ("notebook",))]
    assert synonyms.of(["notebook"]) == []


def test_phrases_have_synonyms_too() -> None:
    synonyms = Synonyms(SynonymFile((("ac", "air conditioner"),)), ANALYSER)
    assert synonyms.of(["ac", "unit"]) == [(0, 0, ("air", "condition"))]
    assert synonyms.of(["air", "condition"]) == [(0, 1, ("ac",))]


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = SynonymFile((('6" pipe', "six\\pipe"), ("沙发", "couch")), {"a b": ("c",)})
    file.write(tmp_path / FILE)
    assert SynonymFile.read(tmp_path / FILE) == file
    assert SynonymFile.read(tmp_path / "none.toml") == SynonymFile()


@pytest.mark.parametrize(
    "text", ["groups = [", 'groups = ["couch"]', "groups = [[1]]", "oneway = 3", "[oneway]\na = 'b'"]
)
def test_a_file_of_another_shape_is_a_named_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigurationError, match=FILE):
        SynonymFile.read(tmp_path / FILE)


def test_words_of_items_that_mean_the_same_are_proposed() -> None:
    titles = ["green couch"] * 6 + ["velvet sofa"] * 6 + ["oak table"] * 6 + ["sofa table"] * 2
    directions = [[1, 0.1, 0]] * 6 + [[1, 0, 0.1]] * 6 + [[0, 1, 0]] * 8
    vectors = np.array(directions, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vocabulary = Vocabulary.of_texts(titles, ANALYSER)
    tokens = [ANALYSER.tokens(title) for title in titles]
    empty = count_terms([[]] * len(titles))
    postings = postings_of(
        {name: empty for name in ("brand", "categories", "attributes", "description")} | {"title": count_terms(tokens)}
    )
    found = propose_from_vectors(vocabulary, postings, vectors, ANALYSER)
    pairs = {(proposal.first, proposal.second) for proposal in found}
    assert ("couch", "sofa") in pairs
    assert ("couch", "table") not in pairs
    assert ("couch", "green") not in pairs  # they stand together in every title
    best = next(p for p in found if (p.first, p.second) == ("couch", "sofa"))
    assert best.evidence == "neighbours" and best.items == (6, 8) and best.together == 0


def test_queries_that_lead_to_the_same_items_propose_the_word_they_differ_in() -> None:
    clicks = [QueryClicks(f"green {word}", item, 2) for word in ("couch", "sofa") for item in ("a", "b", "c")]
    clicks += [QueryClicks("green table", "d", 9), QueryClicks("green couches", "a", 1)]
    found = propose_from_clicks(clicks, ANALYSER)
    assert [(p.first, p.second, p.together) for p in found] == [("couches", "sofa", 3)]
    assert propose_from_clicks(clicks, ANALYSER, MiningConfig(least_clicks=4)) == []


def test_only_what_was_proposed_can_be_accepted_and_it_then_counts(tmp_path: Path) -> None:
    write_proposals(tmp_path, [PAIR])
    with pytest.raises(NotFound):
        accept(tmp_path, "couch", "table")
    assert accept(tmp_path, "sofa", "couch").groups == (("sofa", "couch"),)
    assert read_proposals(tmp_path) == []
    assert SynonymFile.read(tmp_path / FILE).groups == (("sofa", "couch"),)


def test_damaged_proposals_are_a_named_error(tmp_path: Path) -> None:
    (tmp_path / PROPOSALS).write_text("?")
    with pytest.raises(CorruptArtefact):
        read_proposals(tmp_path)
