from pathlib import Path

import numpy as np
import pytest

from services.features.snapshot import ItemSnapshot
from services.search import item_terms_store
from services.search.item_terms import ARRAYS, ENDING, NAMING, SAID, ItemTerms, spelling_signatures
from services.search.item_terms_build import ItemTermsConfig, build_item_terms
from services.search.item_terms_store import FOLDER, item_terms_of
from services.search.text.analyser import Analyser

TITLES = [
    "Brass lamp with 18v bulb",
    "Brass lamp shade",
    "Drill DCD771C2",
    "",
    "Oak shelf",
    "Oak table",
    "Oak desk",
    "Lamp",
]
SMALL = ItemTermsConfig(terms=6, dimensions=2)


def terms() -> ItemTerms:
    return build_item_terms(TITLES, Analyser(), SMALL)


def test_a_title_is_its_terms_in_order_and_a_measure_is_one_token_of_several_terms() -> None:
    made = terms()
    first, third, empty = (slice(*made.starts[title : title + 2]) for title in (0, 2, 3))
    assert [made.terms[code] for code in made.codes[first]] == ["brass", "lamp", "with", "18volt", "18", "volt"]
    assert made.tokens[first].tolist() == [0, 1, 2, 3, 3, 3]
    assert made.roles[first].tolist() == [NAMING, ENDING, SAID, SAID, SAID, SAID]
    assert [made.terms[code] for code in made.codes[third]] == ["drill", "dcd771c2", "dcd", "771", "2"]
    assert made.codes[empty].tolist() == [-1] and made.weights[empty].tolist() == [0]


def test_a_terms_weight_is_its_idf_but_little_for_stop_words_units_and_numbers() -> None:
    made = terms()
    share = (made.weights / made.idf[made.codes])[: made.starts[1]]
    assert share.tolist() == pytest.approx([1, 1, 0.1, 0.5, 0.5, 0.3])
    assert made.numbers[:4].tolist() == [2, 0, 3, 0]
    assert made.measured[:4].tolist() == [True, False, False, False]


def test_what_names_the_thing_ends_before_the_first_stop_word() -> None:
    made = terms()
    assert made.heads[:4].tolist() == [2, 3, 1, 0], "a model number names nothing"
    assert made.lengths[:4].tolist() == [4, 3, 2, 0]


def test_a_rare_term_weighs_more() -> None:
    made = terms()
    assert made.idf[made.code["shade"]] > made.idf[made.code["brass"]] > made.idf[made.code["lamp"]]
    assert made.rarest > made.idf.max()


def test_words_of_the_same_titles_mean_alike() -> None:
    made = terms()
    oak, table, brass = (made.meaning[made.code[word]] for word in ("oak", "tabl", "brass"))
    assert oak @ table > 0.99 > abs(oak @ brass) + 0.9
    assert not made.item_meaning[3].any()


def test_files_give_the_same_terms(tmp_path: Path) -> None:
    made = terms()
    made.save(tmp_path)
    read = ItemTerms.open(tmp_path)
    assert list(read.terms) == list(made.terms)
    for name in ARRAYS:
        assert np.array_equal(getattr(read, name), getattr(made, name)), name


def test_alike_spellings_share_most_of_their_signature() -> None:
    lamp, lamps, drill = spelling_signatures(["lamp", "lamps", "drill"])
    shared = [int(np.bitwise_count(lamp & other).sum()) for other in (lamps, drill)]
    assert shared == [3, 0]


def kept_file(search: Path) -> Path:
    (folder,) = (search / FOLDER).iterdir()
    return folder / "rank-codes.npy"


def test_terms_that_another_process_put_there_meanwhile_stay(
    tmp_path: Path, snapshot: ItemSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[int] = []

    def slowly(titles: list[str], analyser: Analyser) -> ItemTerms:
        monkeypatch.undo()
        item_terms_of(snapshot, analyser, tmp_path)
        put.append(kept_file(tmp_path).stat().st_ino)
        return build_item_terms(titles, analyser)

    monkeypatch.setattr(item_terms_store, "build_item_terms", slowly)
    item_terms_of(snapshot, Analyser(), tmp_path)
    assert put == [kept_file(tmp_path).stat().st_ino]


@pytest.mark.parametrize("damaged", [b"", b"cut short"])
def test_damaged_terms_are_made_again(tmp_path: Path, snapshot: ItemSnapshot, damaged: bytes) -> None:
    made = item_terms_of(snapshot, Analyser(), tmp_path).codes.tolist()
    kept_file(tmp_path).unlink()
    kept_file(tmp_path).write_bytes(damaged)
    assert item_terms_of(snapshot, Analyser(), tmp_path).codes.tolist() == made
