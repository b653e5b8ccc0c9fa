"""The catalogue: `PUT /v1/items`, `GET` and `DELETE /v1/items/{id}`, `GET /v1/items/{id}/similar`."""

from datetime import UTC, datetime

from fastapi import FastAPI, Request, Response

from services.core.errors import NotFound
from services.db.items import delete_item, get_item, upsert_items
from services.ingest.catalogue import parse_items
from services.ingest.item_wire import WireItem
from services.serve.answers import ItemAnswer, ItemsAnswer, SimilarItem, SimilarItemsAnswer
from services.serve.bodies import ITEMS_LIMIT, path_id, query_count, read_body
from services.serve.openapi import Describer, count_parameter
from services.serve.respond import json_response
from services.serve.state import State

DEFAULT_SIMILAR, MAX_SIMILAR = 20, 100


def register(app: FastAPI, state: State, describe: Describer) -> None:
    """Add the routes. `/similar` comes first: an item id may contain slashes."""

    async def put_items(request: Request) -> Response:
        """Up to 1,000 items, each replacing the item of its id as a whole. A bad item never rejects its neighbours."""
        body = await read_body(request, ITEMS_LIMIT)

        def store() -> dict[str, object]:
            batch = parse_items(body, datetime.now(UTC))
            counts = state.database.transact(lambda connection: upsert_items(connection, batch.frame))
            return {
                "inserted": counts.inserted,
                "updated": counts.updated,
                "unchanged": counts.unchanged,
                "rejected": batch.rejected,
            }

        return json_response(await state.database.call(store))

    async def get_similar(request: Request) -> Response:
        """Items like this one: by what users engage with next, and by content."""
        item_id = path_id(request, "item_id")
        count = query_count(request, DEFAULT_SIMILAR, MAX_SIMILAR)
        serving = state.snapshots.serving
        found = None if serving is None else serving.pipeline.similar_items(item_id, count)
        if found is None:
            stored = await state.database.run(lambda connection: get_item(connection, item_id))
            if stored is None:
                raise _unknown(item_id)
            return json_response(SimilarItemsAnswer(item_id, []))  # in the catalogue, not in the snapshot yet
        rows = zip(found.item_ids, found.scores, found.sources, strict=True)
        return json_response(SimilarItemsAnswer(item_id, [SimilarItem(*row) for row in rows]))

    async def get_one(request: Request) -> Response:
        """One item as stored."""
        item_id = path_id(request, "item_id")
        found = await state.database.run(lambda connection: get_item(connection, item_id))
        if found is None:
            raise _unknown(item_id)
        return json_response(ItemAnswer(**found))

    async def delete_one(request: Request) -> Response:
        """Take an item out of the catalogue; the next snapshot no longer has it."""
        item_id = path_id(request, "item_id")
        if not await state.database.run(lambda connection: delete_item(connection, item_id)):
            raise _unknown(item_id)
        return Response(status_code=204)

    body = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": describe.schema_of(WireItem), "minItems": 1, "maxItems": 1_000}
        },
        "required": ["items"],
        "additionalProperties": False,
    }
    app.add_api_route(
        "/v1/items",
        put_items,
        methods=["PUT"],
        **describe.route(body=body, answer=ItemsAnswer, errors=(400, 413, 422, 503)),
    )
    app.add_api_route(
        "/v1/items/{item_id:path}/similar",
        get_similar,
        methods=["GET"],
        **describe.route(
            path=("item_id",),
            query=(count_parameter(DEFAULT_SIMILAR, MAX_SIMILAR),),
            answer=SimilarItemsAnswer,
            errors=(404, 422, 503),
        ),
    )
    app.add_api_route(
        "/v1/items/{item_id:path}",
        get_one,
        methods=["GET"],
        **describe.route(path=("item_id",), answer=ItemAnswer, errors=(404, 422, 503)),
    )
    app.add_api_route(
        "/v1/items/{item_id:path}",
        delete_one,
        methods=["DELETE"],
        **describe.route(path=("item_id",), status=204, errors=(404, 422, 503)),
    )


def _unknown(item_id: str) -> NotFound:
    return NotFound(f"No item {item_id!r} in the catalogue: PUT /v1/items adds items")
