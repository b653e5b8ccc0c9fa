"""What every importer must do, whatever its format: the suite that each of them inherits."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pyarrow.parquet as pq
import pytest

from services.core.columns import EVENT_COLUMNS, ITEM_COLUMNS
from services.core.errors import ImportFailed
from services.ingest.event_rules import EventRules
from services.ingest.importers.base import ROW, Chunk, ImportOptions, Kind
from services.ingest.importers.formats import choose_importer, importers
from services.ingest.importers.mapping import parse_mapping
from services.ingest.importers.source import Source
from services.ingest.item_rules import ItemRules
from services.ingest.rules.ratings import RatingScale

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
T1, T2 = datetime(2016, 9, 1, tzinfo=UTC), datetime(2016, 9, 2, tzinfo=UTC)


class ImporterContract:
    """A subclass gives a sample file and the rows it holds. `tail` is a half-written last record, if that can be."""

    format: ClassVar[str]
    kind: ClassVar[Kind] = Kind.EVENTS
    name: ClassVar[str] = "sample.txt"
    content: ClassVar[str]
    options: ClassVar[ImportOptions] = ImportOptions()
    expected: ClassVar[list[dict[str, Any]]]
    detected: ClassVar[bool] = True

    def write(self, folder: Path, *, compressed: bool = False) -> Path:
        data = self.content.encode()
        path = folder / (self.name + (".gz" if compressed else ""))
        path.write_bytes(gzip.compress(data) if compressed else data)
        return path

    def read(self, path: Path) -> list[Chunk]:
        source = Source(path)
        return list(choose_importer(source, self.kind, self.format).read(source, self.options))

    def canonical(self, chunks: list[Chunk]) -> list[dict[str, Any]]:
        importer = next(i for i in importers(self.kind) if i.format == self.format)
        scale: RatingScale = self.options.rating_scale or importer.rating_scale
        rules = EventRules(self.format, NOW, scale, importer.identity) if self.kind is Kind.EVENTS else ItemRules()
        frames = [rules.apply(chunk.frame).frame for chunk in chunks if chunk.frame.height]
        assert all(set(EVENT_COLUMNS if self.kind is Kind.EVENTS else ITEM_COLUMNS) <= set(f.columns) for f in frames)
        return pl.concat(frames).to_dicts()

    def test_the_file_is_recognised(self, tmp_path):
        if self.detected:
            assert choose_importer(Source(self.write(tmp_path)), self.kind).format == self.format

    def test_rows_become_canonical(self, tmp_path):
        found = self.canonical(self.read(self.write(tmp_path)))
        assert len(found) == len(self.expected)
        for row, expected in zip(found, self.expected, strict=True):
            assert {name: row[name] for name in expected} == expected

    def test_gzip_changes_nothing(self, tmp_path):
        plain = self.canonical(self.read(self.write(tmp_path)))
        assert self.canonical(self.read(self.write(tmp_path, compressed=True))) == plain

    def test_the_same_file_gives_the_same_ids(self, tmp_path):
        path = self.write(tmp_path)
        key = "event_id" if self.kind is Kind.EVENTS else "item_id"
        first, second = (self.canonical(self.read(path)) for _ in range(2))
        assert [row[key] for row in first] == [row[key] for row in second]
        assert len({row[key] for row in first}) == len(first)

    def test_row_numbers_lie_in_the_file(self, tmp_path):
        chunks = self.read(self.write(tmp_path))
        numbers = [row for chunk in chunks for row in chunk.frame[ROW]]
        assert numbers and min(numbers) >= 1 and max(numbers) <= chunks[-1].rows

    def test_a_truncated_gzip_is_named_with_a_cure(self, tmp_path):
        path = tmp_path / (self.name + ".gz")
        data = gzip.compress((self.content * 40).encode())
        path.write_bytes(data[: len(data) - 12])
        with pytest.raises(ImportFailed, match=r"sample.*cut off; copy or download it again"):
            self.read(path)

    def test_an_empty_file_is_refused(self, tmp_path):
        path = tmp_path / self.name
        path.touch()
        with pytest.raises(ImportFailed, match="empty"):
            self.read(path)


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


class TestJsonLinesEvents(ImporterContract):
    format = "jsonl"
    content = lines(
        {"event_id": "e1", "user_id": "u", "item_id": "i", "type": "view", "timestamp": "2016-09-01T00:00:00Z"},
        {
            "event_id": "e2",
            "user_id": "u",
            "type": "search",
            "timestamp": "2016-09-02T02:00:00+02:00",
            "properties": {"query": "lamp"},
        },
    )
    expected: ClassVar = [
        {"event_id": "e1", "type": "view", "timestamp": T1},
        {"event_id": "e2", "item_id": None, "query": "lamp", "timestamp": T2},
    ]

    def test_a_line_that_is_no_event_is_set_aside_with_its_row(self, tmp_path):
        path = tmp_path / "x.jsonl"
        path.write_text(self.content + '{"event_id": 5}\n\nnot json\n' + self.content)
        chunks = self.read(path)
        assert [(u.row, u.original) for c in chunks for u in c.unreadable] == [(3, '{"event_id": 5}'), (5, "not json")]
        assert [row for c in chunks for row in c.frame[ROW]] == [1, 2, 6, 7]


class TestJsonLinesItems(ImporterContract):
    format = "jsonl"
    kind = Kind.ITEMS
    content = lines(
        {"item_id": "a", "title": "Lamp", "price": 5}, {"item_id": "b", "title": "Sofa", "categories": ["x"]}
    )
    expected: ClassVar = [{"item_id": "a", "price": 5.0}, {"item_id": "b", "categories": ["x"]}]


class TestCsvEvents(ImporterContract):
    format = "csv"
    name = "sample.csv"
    content = 'who,what,when,stars,words\nu,i,1472688000,4,"good,\nreally"\nu,j,2016-09-02,5,""\n'
    options = ImportOptions(
        mapping=parse_mapping(["user_id=who,item_id=what,timestamp=when,rating=stars,text=words"]), event_type="rating"
    )
    expected: ClassVar = [{"item_id": "j", "timestamp": T2, "rating": 5.0, "text": None, "type": "rating"}]

    def test_rows_of_another_width_are_set_aside_and_the_others_keep_their_numbers(self, tmp_path):
        path = tmp_path / "x.csv"
        path.write_text("who,what,when,stars,words\nu,i,1,4,\nu,i\nu,k,1,4,,,\nu,j,1,4,\n")
        chunks = self.read(path)
        assert [u.row for c in chunks for u in c.unreadable] == [3, 4]
        assert [row for c in chunks for row in c.frame[ROW]] == [2, 5]

    def test_a_quote_that_never_closes_is_named(self, tmp_path):
        path = tmp_path / "x.csv"
        path.write_text('who,what,when,stars,words\nu,i,1,4,\nu,"i,1,4\nu,j,1,4,\n')
        with pytest.raises(ImportFailed, match="quoted field does not end"):
            self.read(path)

    def test_another_encoding_must_be_named(self, tmp_path):
        path = tmp_path / "x.csv"
        path.write_bytes(self.content.replace("good", "gut für").encode("latin-1"))
        with pytest.raises(ImportFailed, match=r"row 2 is not utf-8.*--encoding latin-1"):
            self.read(path)


class TestHeaderlessCsv(ImporterContract):
    format = "csv"
    name = "sample.csv"
    content = "u,i,Jake,good,5,1472688000\nu,j,Jake,bad,1,1472774400\n"
    options = ImportOptions(
        mapping=parse_mapping(["user_id=0,item_id=1,text=3,rating=4,timestamp=5"]), header=False, event_type="review"
    )
    expected: ClassVar = [{"item_id": "i", "text": "good", "timestamp": T1}, {"item_id": "j", "rating": 1.0}]


class TestTsvItems(ImporterContract):
    format = "tsv"
    kind = Kind.ITEMS
    name = "sample.tsv"
    content = "item_id\ttitle\tprice\tcategories\na\tLamp\t$1,299.00\tHome|Light\nb\tSofa\t\t\n"
    expected: ClassVar = [
        {"item_id": "a", "price": 1299.0, "categories": ["Home", "Light"]},
        {"item_id": "b", "price": None, "categories": []},
    ]


class TestParquetEvents(ImporterContract):
    format = "parquet"
    name = "sample.parquet"
    content = "parquet"
    options = ImportOptions(mapping={"user_id": "user"}, event_type="view")
    expected: ClassVar = [
        {"user_id": "7", "item_id": "i", "timestamp": T1, "dwell_ms": 5},
        {"user_id": "8", "item_id": "j", "timestamp": T2, "dwell_ms": None},
    ]

    def write(self, folder: Path, *, compressed: bool = False) -> Path:
        frame = pl.DataFrame(
            {"user": [7, 8], "item_id": ["i", "j"], "timestamp": [T1, T2], "dwell_ms": [5.0, None], "other": [1, 2]}
        )
        path = folder / self.name
        pq.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), path)
        return path

    def test_a_truncated_gzip_is_named_with_a_cure(self, tmp_path):
        path = self.write(tmp_path)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ImportFailed, match="not a whole Parquet file"):
            self.read(path)


class TestAmazonReviews2018(ImporterContract):
    format = "amazon-reviews"
    content = lines(
        {
            "overall": 5.0,
            "verified": True,
            "reviewerID": "A1",
            "asin": "B1",
            "style": {"Size:": " 7 oz"},
            "reviewText": "Works well.",
            "summary": "Five Stars",
            "unixReviewTime": 1472688000,
        },
        {"overall": 1.0, "reviewerID": "A1", "asin": "B2", "unixReviewTime": 1472774400},
    )
    expected: ClassVar = [
        {
            "user_id": "A1",
            "item_id": "B1",
            "type": "review",
            "rating": 5.0,
            "text": "Five Stars. Works well.",
            "timestamp": T1,
        },
        {"item_id": "B2", "type": "rating", "rating": 1.0, "text": None, "timestamp": T2},
    ]


class TestAmazonReviews2014(ImporterContract):
    format = "amazon-reviews"
    content = lines(
        {
            "reviewerID": "A1",
            "asin": "B1",
            "reviewerName": "J",
            "helpful": [0, 0],
            "reviewText": "Great! Loved it",
            "overall": 4.0,
            "summary": "Great!",
            "unixReviewTime": 1472688000,
            "reviewTime": "09 1, 2016",
        },
    )
    expected: ClassVar = [{"text": "Great! Loved it", "rating": 4.0, "timestamp": T1}]


class TestAmazonReviews2023(ImporterContract):
    format = "amazon-reviews"
    content = lines(
        {
            "rating": 3.0,
            "title": "Ok",
            "text": "It is<br />fine",
            "images": [],
            "asin": "B1v",
            "parent_asin": "B1",
            "user_id": "AE",
            "timestamp": 1472688000123,
            "helpful_vote": 0,
            "verified_purchase": True,
        },
    )
    expected: ClassVar = [{"user_id": "AE", "item_id": "B1", "text": "Ok. It is fine", "rating": 3.0}]


class TestAmazonMetadata2014(ImporterContract):
    format = "amazon-metadata"
    kind = Kind.ITEMS
    content = (
        "{'asin': 'B1', 'title': 'Brush &amp; Comb', 'price': 5.04, 'imUrl': 'http://x/1.jpg', 'brand': 'Coka', "
        "'salesRank': {'Beauty': 10486}, 'categories': [['Beauty', 'Hair'], ['Gifts']], 'description': \"It's good\"}\n"
        "{'asin': 'B2', 'categories': [['Beauty']], 'title': 'Soap'}\n"
    )
    expected: ClassVar = [
        {
            "item_id": "B1",
            "title": "Brush & Comb",
            "price": 5.04,
            "brand": "Coka",
            "categories": ["Beauty", "Hair", "Gifts"],
            "description": "It's good",
            "image_urls": ["http://x/1.jpg"],
            "attributes": '{"sales_rank":10486}',
        },
        {"item_id": "B2", "price": None, "brand": None},
    ]

    def test_a_line_that_is_code_is_not_run(self, tmp_path):
        path = tmp_path / "x"
        path.write_text(self.content + "{'asin': __import__('os').getpid()}\n")
        unreadable = [u for chunk in self.read(path) for u in chunk.unreadable]
        assert [u.row for u in unreadable] == [3]


class TestAmazonMetadata2018(ImporterContract):
    format = "amazon-metadata"
    kind = Kind.ITEMS
    content = lines(
        {
            "category": ["Beauty", "Hair"],
            "description": ["One.", "Two."],
            "title": "Comb",
            "brand": "\n by\n  Coka",
            "price": "$1,012.99",
            "asin": "B1",
            "imageURL": ["https://x/s.jpg"],
            "imageURLHighRes": ["https://x/l.jpg"],
            "feature": ["Light"],
        },
        {"asin": "B2", "title": "Soap", "price": ".a-box{margin:0}", "main_cat": "All Beauty", "category": []},
    )
    expected: ClassVar = [
        {"price": 1012.99, "brand": "Coka", "description": "One. Two. Light", "image_urls": ["https://x/l.jpg"]},
        {"item_id": "B2", "categories": ["All Beauty"]},
    ]


class TestAmazonMetadata2023(ImporterContract):
    format = "amazon-metadata"
    kind = Kind.ITEMS
    content = lines(
        {
            "main_category": "All Beauty",
            "title": "Comb",
            "average_rating": 4.8,
            "rating_number": 10,
            "features": ["Light"],
            "description": [],
            "price": 9.5,
            "images": [{"thumb": "https://x/t.jpg", "large": "https://x/l.jpg", "variant": "MAIN", "hi_res": None}],
            "videos": [{"title": "v", "url": "https://x/v.mp4", "user_id": ""}],
            "store": "Coka",
            "categories": [],
            "details": {"Color": "Red", "Dimensions": {"x": 1}},
            "parent_asin": "B1",
        },
    )
    expected: ClassVar = [
        {
            "item_id": "B1",
            "brand": "Coka",
            "price": 9.5,
            "categories": ["All Beauty"],
            "image_urls": ["https://x/l.jpg"],
            "video_urls": ["https://x/v.mp4"],
            "attributes": '{"Color":"Red"}',
        }
    ]


class TestAmazonItemsTsv(ImporterContract):
    format = "amazon-items-tsv"
    kind = Kind.ITEMS
    content = (
        "asin\ttitle\tbrand\tcategories\tprice\tsales_rank\n"
        "B1\tComb\tCoka\t'Beauty', 'Creams, Gels & Lotions'\t5.04\t10486.0\n"
        'B2\tScent\t\t"\'Beauty\', ""Women\'s"""\t\t\n'
    )
    expected: ClassVar = [
        {"item_id": "B1", "brand": "Coka", "categories": ["Beauty", "Creams, Gels & Lotions"], "price": 5.04},
        {"item_id": "B2", "brand": None, "categories": ["Beauty", "Women's"], "price": None},
    ]


class TestUserSequences(ImporterContract):
    format = "user-sequences"
    content = "u1 a b\nu2 c\nu3 d e f\n"
    options = ImportOptions(until=T2)
    expected: ClassVar = [
        {"user_id": "u1", "item_id": "a", "type": "purchase", "timestamp": T1, "synthetic_time": True},
        {"user_id": "u1", "item_id": "b", "timestamp": T2},
        {"user_id": "u2", "item_id": "c", "timestamp": T2},
        {"user_id": "u3", "item_id": "d", "timestamp": datetime(2016, 8, 31, tzinfo=UTC)},
        {"user_id": "u3", "item_id": "e", "timestamp": T1},
        {"user_id": "u3", "item_id": "f", "timestamp": T2, "synthetic_time": True},
    ]

    def test_ids_do_not_depend_on_the_made_up_times(self, tmp_path):
        source = Source(self.write(tmp_path))
        importer = choose_importer(source, self.kind, self.format)
        later = list(importer.read(source, ImportOptions(until=NOW)))
        ids = [[row["event_id"] for row in self.canonical(c)] for c in (later, self.read(source.path))]
        assert ids[0] == ids[1]

    def test_a_user_without_items_is_set_aside(self, tmp_path):
        path = tmp_path / "x"
        path.write_text("u1 a\nu2\n")
        assert [u.row for chunk in self.read(path) for u in chunk.unreadable] == [2]


class TestRetailRocketEvents(ImporterContract):
    format = "retailrocket"
    content = (
        "timestamp,visitorid,event,itemid,transactionid\n1472688000000,257597,view,355908,\n"
        "1472774400000,257597,addtocart,355908,\n1472774400000,257597,transaction,355908,4000\n"
    )
    expected: ClassVar = [
        {"user_id": "257597", "item_id": "355908", "type": "view", "timestamp": T1},
        {"type": "cart", "timestamp": T2},
        {"type": "purchase", "timestamp": T2},
    ]


class TestRetailRocketItems(ImporterContract):
    format = "retailrocket-items"
    kind = Kind.ITEMS
    content = (
        "timestamp,itemid,property,value\n2,460429,categoryid,1338\n1,460429,categoryid,7\n1,206783,888,1116713\n"
        "3,206783,available,0\n"
    )
    expected: ClassVar = [
        {"item_id": "460429", "title": "Item 460429", "categories": ["Category 1338"], "available": True},
        {"item_id": "206783", "categories": [], "available": False},
    ]

    def canonical(self, chunks):
        found = super().canonical(chunks)
        return sorted(found, key=lambda row: row["item_id"], reverse=True)


class TestMovieLensCsv(ImporterContract):
    format = "movielens"
    content = "userId,movieId,rating,timestamp\n1,2,0.5,1472688000\n1,3,5.0,1472774400\n"
    expected: ClassVar = [
        {"user_id": "1", "item_id": "2", "type": "rating", "rating": 1.0, "timestamp": T1},
        {"item_id": "3", "rating": 5.0},
    ]


class TestMovieLensDat(ImporterContract):
    format = "movielens"
    content = "1::2::5::1472688000\n1::3::2.75::1472774400\n"
    expected: ClassVar = [{"item_id": "2", "rating": 5.0, "timestamp": T1}, {"item_id": "3", "rating": 3.0}]


class TestMovieLensMovies(ImporterContract):
    format = "movielens-movies"
    kind = Kind.ITEMS
    content = 'movieId,title,genres\n1,"American President, The (1995)",Comedy|Drama\n2,Heat,(no genres listed)\n'
    expected: ClassVar = [
        {"title": "American President, The (1995)", "categories": ["Comedy", "Drama"], "attributes": '{"year":1995}'},
        {"title": "Heat", "categories": []},
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_formats_have_distinct_names(kind):
    names = [importer.format for importer in importers(kind)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("file", "kind", "format", "rows"),
    [
        ("amazon-beauty-2014/items.tsv.gz", Kind.ITEMS, "amazon-items-tsv", 12_101),
        ("amazon-beauty-2014/user_sequence.txt.gz", Kind.EVENTS, "user-sequences", 198_502),
        ("amazon-reviews/All_Beauty_5_2018.json.gz", Kind.EVENTS, "amazon-reviews", 5_269),
    ],
)
def test_real_files_are_recognised_and_read_whole(test_data, file, kind, format, rows):
    source = Source(test_data / file)
    importer = choose_importer(source, kind)
    assert importer.format == format
    assert sum(chunk.frame.height for chunk in importer.read(source, ImportOptions())) == rows
