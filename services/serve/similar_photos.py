"""Items whose pictures are like a photo: found near its vector in the items' space, put in order picture by picture."""

import numpy as np

from services.core.types import Modality
from services.db.embeddings import read_embeddings
from services.features.snapshot import ItemSnapshot
from services.serve.database import Database
from services.serve.photos import EncodedPhoto, image_vector

CANDIDATES = 500
"""A picture has at most half the say in an item's vector: the nearest pictures are looked for among so many items."""


async def similar_items(
    database: Database, snapshot: ItemSnapshot, photo: EncodedPhoto, count: int
) -> list[tuple[str, float]]:
    """Up to `count` available items with a picture: id and the cosine of the pictures, most alike first. Nothing while
    the items are being encoded anew by another image encoder.

    Raises:
        DependencyDown: PostgreSQL, which keeps the pictures' vectors, does not answer.
    """
    if photo.space != snapshot.space or not snapshot.count:
        return []
    query = np.frombuffer(photo.vector, np.float32)
    rows, _ = snapshot.nearest(query[None, :], min(CANDIDATES, snapshot.count))
    ids = [snapshot.item_ids[row] for row in rows[0].tolist() if row >= 0]
    found = await database.run(lambda connection: read_embeddings(connection, Modality.IMAGE.value, photo.version, ids))
    if not found:
        return []
    cosines = np.stack(list(found.values())) @ image_vector(photo)
    best = np.argsort(-cosines, kind="stable")[:count]
    names = list(found)
    return [(names[i], round(float(cosines[i]), 6)) for i in best.tolist()]
