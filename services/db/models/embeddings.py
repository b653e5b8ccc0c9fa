"""Item vectors: one a modality and encoder version, and the fused one that serving uses."""

from datetime import datetime

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import LargeBinary

from services.db.models.base import Base


class ItemEmbedding(Base):
    """The vector of one modality of one item under one encoder version.

    `content_hash` (16 bytes) identifies what was encoded: unchanged content is never encoded again, and items with the
    same content share the work. `embedding` is null where the modality could not be read; `reason` then says why.
    """

    __tablename__ = "item_embeddings"
    __table_args__ = (Index(None, "encoder", "content_hash"),)

    item_id: Mapped[str] = mapped_column(primary_key=True)
    modality: Mapped[str] = mapped_column(primary_key=True)
    encoder: Mapped[str] = mapped_column(primary_key=True)
    content_hash: Mapped[bytes] = mapped_column(LargeBinary)
    embedding: Mapped[list[float] | None] = mapped_column(VECTOR)
    reason: Mapped[str | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ItemVector(Base):
    """The fused vector of an item: `vector` holds little-endian float32, L2-normalised, `dimension` = bytes / 4.

    `event_timestamp` is when the vector last changed, `checked_at` when it was last compared with the item's content.
    `space` names the vector space (encoder versions and fusion); vectors of different spaces are not comparable.
    """

    __tablename__ = "item_vectors"
    __table_args__ = (Index(None, "event_timestamp"),)

    item_id: Mapped[str] = mapped_column(primary_key=True)
    event_timestamp: Mapped[datetime]
    space: Mapped[str]
    modalities: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    checked_at: Mapped[datetime]
