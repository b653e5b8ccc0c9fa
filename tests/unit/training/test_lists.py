"""Lists made elsewhere are measured like our own."""

from pathlib import Path

import polars as pl
import pytest
from hand_split import ITEMS, split_of

from services.core.errors import InvalidInput
from training.evaluation import evaluate
from training.lists import ForeignLists

SPLIT = split_of(u="abe", v="bca", w="bd", x="bcde")


def test_lists_in_any_order_without_what_the_user_has(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    rows = [("u", "e", 3), ("u", "a", 1), ("u", "c", 2), ("v", "a", 1), ("v", "unknown", 2), ("stranger", "a", 1)]
    pl.DataFrame(rows, schema=["user_id", "item_id", "rank"], orient="row").write_csv(path)
    model = ForeignLists("theirs", path)
    result = evaluate(lambda seed: model, SPLIT)
    ranked = model.recommend(SPLIT.users, 3)
    assert ["".join(ITEMS[i] if i >= 0 else "-" for i in row) for row in ranked] == ["ce-", "a--", "---"]
    assert result.name == "theirs"
    assert result.metrics["recall@10"].mean == pytest.approx(2 / 3)


def test_a_file_with_other_columns_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lists.parquet"
    pl.DataFrame({"user": ["u"]}).write_parquet(path)
    with pytest.raises(InvalidInput, match="item_id, rank, user_id"):
        ForeignLists("theirs", path).fit(SPLIT)
