"""Search over the whole stack: items over HTTP, an index made by the schedule, answers, and what came of them."""

import io
import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
import psutil
import pytest
import torch
from msgspec.structs import replace as replaced
from PIL import Image, ImageDraw

from services.core.paths import HomePaths
from services.encoders.text import load_text_encoder
from services.networks.cross_encoder import CrossEncoderConfig, split_encoder
from services.registry.registry import UNTRAINED, ModelRegistry
from services.registry.search_artefact import RANKER, Reranking, write_cross_encoder

SHELF = "Samovars"
COLOURS = {"crimson": (170, 20, 40), "cobalt": (20, 60, 200)}


def item(item_id: str, title: str, brand: str, price: float, **more: object) -> dict:
    return {"item_id": item_id, "title": title, "brand": brand, "categories": ["Home", SHELF], "price": price} | more


ITEMS = [
    *(item(f"samovar-{n}", f"Brass samovar {n} litre", "Tula", 100.0 + n) for n in range(1, 13)),
    item("telescope", "Refractor telescope with tripod", "Galileo", 240.0),
    item("hammock", "Striped cotton hammock", "Siesta", 60.0),
    item("anvil", "Cast steel anvil", "Smithy", 310.0, available=False),
]


def drawn(name: str, shift: int = 0) -> Image.Image:
    """A red disc or blue stripes."""
    picture = Image.new("RGB", (320, 320), (245, 240, 230))
    pencil = ImageDraw.Draw(picture)
    if name == "crimson":
        pencil.ellipse((60 + shift, 60, 260 + shift, 260), fill=COLOURS[name])
    else:
        for x in range(shift, 320, 40):
            pencil.rectangle((x, 0, x + 18, 320), fill=COLOURS[name])
    return picture


def encoded(picture: Image.Image, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    return buffer.getvalue()


def asked(stack, query: str, **options: object) -> dict:
    answer = stack.client.post("/v1/search", json={"query": query, "count": 5, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(found: dict) -> list[str]:
    return [item["item_id"] for item in found["items"]]


@pytest.fixture(scope="module")
def shop(stack):
    """The catalogue, found by words and by meaning."""
    media = HomePaths(stack.home).media
    media.mkdir(exist_ok=True)
    pictured = []
    for name in COLOURS:
        (media / f"{name}.png").write_bytes(encoded(drawn(name)))
        pictured.append(item(f"rug-{name}", f"Woven rug in {name}", "Loom", 80.0, image_urls=[f"file:{name}.png"]))
    put = stack.client.put("/v1/items", json={"items": ITEMS + pictured})
    assert put.status_code == 200 and not put.json()["rejected"], put.text

    def settled():
        found = asked(stack, "samovar")
        return found if found["mode"] == "hybrid" and len(found["items"]) == 5 else None

    stack.eventually(settled, "a search by words and meaning", seconds=240)
    return stack


def test_items_are_found_by_word_and_page_by_page(shop):
    first = asked(shop, "brass samovar", facets=["brands", "price"])
    assert first["total"] >= 12
    assert "<em>" in first["items"][0]["highlight"]
    assert {"name": "Tula", "count": 12} in first["facets"]["brands"]
    second = asked(shop, "brass samovar", cursor=first["next_cursor"])
    third = asked(shop, "brass samovar", cursor=second["next_cursor"])
    assert all(name.startswith("samovar") for page in (first, second) for name in ids(page))
    assert len({*ids(first), *ids(second), *ids(third)}) == 10 + len(ids(third))
    assert [item["rank"] for item in second["items"]] == [6, 7, 8, 9, 10]
    assert {first["request_id"]} == {second["request_id"], third["request_id"]}


def test_items_are_found_by_meaning(shop):
    assert "telescope" in ids(asked(shop, "watching stars and planets at night"))[:2]


def test_a_misspelt_word_is_corrected(shop):
    found = asked(shop, "telescpoe")
    assert ids(found)[0] == "telescope"
    assert "telescope" in (found["corrected_query"] or found["did_you_mean"])


def test_a_filter_holds_and_what_cannot_be_bought_stays_out(shop):
    cheap = asked(shop, "samovar", filter={"price": {"max": 103}})
    assert sorted(ids(cheap)[:3]) == ["samovar-1", "samovar-2", "samovar-3"]
    assert "anvil" not in ids(asked(shop, "steel anvil"))
    assert ids(asked(shop, "steel anvil", filter={"available": None}))[0] == "anvil"


def test_reasons_say_what_moved_a_result(shop):
    found = asked(shop, "striped hammock", explain=True, user_id="somebody")
    assert found["items"][0]["item_id"] == "hammock" and found["items"][0]["reasons"]


def test_a_search_ranker_is_trained_and_taken_up_and_left_again_without_a_restart(shop, tmp_path: Path):
    lines = ["query,item_id,grade"]
    for how in ("brass", "big brass", "small brass", "new", "old", "litre"):
        for n in range(1, 13):
            lines += [
                f"{how} samovar {n},samovar-{n},3",
                f"{how} samovar {n},hammock,1",
                f"{how} samovar {n},telescope,2",
            ]
    (tmp_path / "judged.csv").write_text("\n".join(lines))
    asked_for = ("train", "--what", "search-ranker", "--judgements", str(tmp_path / "judged.csv"))
    asked_for += ("--cross-encoder", "--json")
    trained = shop.portrait(*asked_for)
    assert trained.returncode == 0, trained.stderr
    version = json.loads(trained.stdout)["version"]
    assert {"ndcg@10", "ndcg@10-ranker"} <= json.loads(trained.stdout)["metrics"].keys()
    assert ranker_of(shop) == "untrained-1"
    assert shop.portrait("models", "promote", version, "--search", "--force").returncode == 0
    assert version in shop.portrait("models", "list", "--search").stdout
    assert "ndcg@10-ranker" in shop.portrait("models", "show", version, "--search").stdout
    shop.eventually(lambda: ranker_of(shop) == version or None, "the trained ranker")
    assert f"search ranker  {version}" in shop.portrait("doctor").stdout
    found = asked(shop, "striped hammock", explain=True)
    assert found["items"][0]["reasons"] and "ranker-refused" not in found["flags"]
    cross = with_cross_encoder(shop, version)
    assert shop.portrait("models", "promote", cross, "--search", "--force").returncode == 0
    shop.eventually(lambda: ranker_of(shop) == cross or None, "the ranker with a cross-encoder")
    read = shop.eventually(lambda: read_together(shop) or None, "results that a cross-encoder has read")
    assert all(isinstance(score, float) for score in read)
    assert shop.portrait("models", "rollback", "--search").stdout.strip() == f"{version} serves again"
    assert shop.portrait("models", "rollback", "--search").stdout.strip() == "untrained serves again"
    shop.eventually(lambda: ranker_of(shop) == "untrained-1" or None, "the untrained ranker")


def with_cross_encoder(shop, version: str) -> str:
    """A version with the same ranker and a cross-encoder that counts: the text encoder's last layer, untaught."""
    registry = ModelRegistry(HomePaths(shop.home).search_rankers, UNTRAINED)
    folder, manifest = registry.verified(version)
    encoder, config = load_text_encoder(device="cpu"), CrossEncoderConfig(frozen=5)
    _, upper = split_encoder(encoder.model, config)
    torch.nn.init.normal_(upper.head.weight)
    weights = {name: value.numpy() for name, value in upper.state_dict().items()}
    with tempfile.TemporaryDirectory() as made:
        shutil.copy(folder / RANKER, made)
        write_cross_encoder(Path(made), weights, Reranking(encoder.version, 1.0, msgspec.to_builtins(config)))
        registry.publish(Path(made), replaced(manifest, version=f"{version}-cross"))
    return f"{version}-cross"


def read_together(shop) -> list[float]:
    """What the cross-encoder adds to the first results, nothing while it is loaded."""
    found = asked(shop, "brass samovar", explain=True)
    reasons = [reason for item in found["items"] for reason in item["reasons"] or ()]
    return [reason["score"] for reason in reasons if reason["type"] == "read-together"]


def ranker_of(shop) -> str:
    return asked(shop, "brass samovar")["versions"]["ranker"]


def test_what_people_did_after_a_search_is_attributed_and_reported(shop):
    query = f"copper samovar {uuid4().hex[:6]}"
    found = asked(shop, query, user_id="collector", surface="header")
    bought = ids(found)[1]
    now = datetime.now(UTC).isoformat()
    events = [
        {"event_id": uuid4().hex, "user_id": "collector", "item_id": bought, "type": kind, "timestamp": now}
        | {"request_id": found["request_id"]}
        for kind in ("click", "purchase")
    ]
    assert shop.client.post("/v1/events", json={"events": events}).json()["accepted"] == 2

    def counted():
        run = shop.portrait("search", "rebuild", "--update", "--json")
        assert run.returncode == 0, run.stderr
        report = json.loads(shop.portrait("search", "report", "--json", "--most", "1000").stdout)
        rows = [row for row in report["frequent"] if row["example"] == query]
        return rows[0] if rows and rows[0]["purchases"] else None

    row = shop.eventually(counted, "the purchase in the report")
    assert (row["searches"], row["clicked"], row["clicks"], row["mean_position"]) == (1, 1, 1, 1.0)
    status = json.loads(shop.portrait("search", "status", "--json").stdout)
    assert status["index"] and status["totals"]["purchases"] >= 1


def test_what_is_typed_is_completed(shop):
    asked(shop, "samovar with teapot", user_id="typist")
    anew = shop.portrait("search", "rebuild", "--json")
    assert anew.returncode == 0, anew.stderr

    def completed():
        found = shop.client.get("/v1/suggest", params={"q": "samov", "user_id": "typist"}).json()["suggestions"]
        texts = [one["text"].lower() for one in found]
        known = any("brass" in text for text in texts) and texts[0] == "samovar with teapot"
        return texts if known else None

    shop.eventually(completed, "the user's own search first, the shop's words after it")
    refusal = shop.client.put("/v1/users/typist", json={"consent": {"personalisation": False}})
    assert refusal.status_code in (200, 201)
    found = shop.client.get("/v1/suggest", params={"q": "samov", "user_id": "typist"}).json()["suggestions"]
    assert found and all(one["kind"] != "recent" for one in found)


@pytest.mark.parametrize("colour", list(COLOURS))
def test_items_are_found_by_a_photo(shop, colour: str):
    photo = encoded(drawn(colour, shift=3), "JPEG")
    as_body = {"content": photo, "headers": {"content-type": "image/jpeg"}}
    as_form = {"files": {"image": ("photo.jpg", photo, "image/jpeg")}}
    for sent in (as_body, as_form):
        answer = shop.client.post("/v1/search/similar-image", params={"count": 2}, **sent)
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"][0]["item_id"] == f"rug-{colour}"


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "image/png", 422, "invalid-input"),
        (b"plain text", "text/plain", 415, "unsupported-media"),
        (b"\x89PNG\r\n\x1a\n" + b"damaged", "image/png", 422, "invalid-input"),
        (b"--X\r\n", "multipart/form-data; boundary=X", 400, "malformed-body"),
    ],
)
def test_what_is_no_photo_is_a_problem(shop, content: bytes, kind: str, status: int, code: str):
    answer = shop.client.post("/v1/search/similar-image", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "\x00\x01\x1f",
        "the of and",
        "x" * 10_000,
        "samovar " * 60,
        '"brass" AND (samovar OR title:x) -not *:* ~2 ^5 [a TO b]',
        "'; DROP TABLE searches; --",
        "../../etc/passwd %00 {{7*7}} ${jndi:ldap://x}",
        "מחפש סמובר נחושת",
        "🫖🔥👩‍🔬",
        "\u202esamovar\u202c",
        "½ × 4″ 1/2 in. 18v",
        "a" * 500,
    ],
)
def test_whatever_is_asked_is_answered_or_refused_clearly(shop, query: str):
    answer = shop.client.post("/v1/search", json={"query": query})
    assert answer.status_code in (200, 422), answer.text
    typed = shop.client.get("/v1/suggest", params={"q": query})
    assert typed.status_code in (200, 422), typed.text


def test_without_the_encoder_search_goes_on_by_words(shop):
    replica = encoder_of(shop.home)
    replica.kill()
    found = asked(shop, f"brass samovar {uuid4().hex}")
    assert found["mode"] == "lexical" and found["query_vector"] != "encoded"
    assert all(name.startswith("samovar") for name in ids(found))

    def recovered():
        found = asked(shop, f"brass samovar {uuid4().hex}")
        return found if found["mode"] == "hybrid" else None

    shop.eventually(recovered, "a search by meaning again")


def encoder_of(home: Path) -> psutil.Process:
    """The replica of the encoder."""
    for process in psutil.process_iter():
        try:
            named = "ServeReplica:portrait:encoder" in " ".join(process.cmdline())
            if named and process.environ().get("PORTRAIT_HOME") == str(home):
                return process
        except (psutil.Error, OSError):
            continue
    raise AssertionError("no replica of the encoder runs")
