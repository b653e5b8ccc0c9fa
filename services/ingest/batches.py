"""Decode a batch of objects so that one bad object never costs its neighbours theirs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from services.core.errors import BodyTooLarge, InvalidInput, MalformedBody
from services.ingest.wire_errors import explain

T = TypeVar("T")
DECODING_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)


@dataclass(frozen=True)
class Rejection:
    """One object that was not accepted: its position in the batch, a stable code, the problem and its cure."""

    index: int
    code: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"index": self.index, "code": self.code, "message": self.message}


class NotFinite:
    """NaN, Infinity or -Infinity in a body: of no type that a field could have."""

    def __init__(self, text: str) -> None:
        self.text = text


class BatchDecoder(Generic[T]):
    """Decodes `{"<name>": [object, …]}`, where each object is a struct of type `kind`.

    The whole batch at once where all is well (a microsecond an object); one by one where it is not.
    """

    def __init__(
        self, name: str, kind: type[T], *, limit: int, limit_bytes: int, strict: type[T] | None = None
    ) -> None:
        """`strict` is a subclass of `kind` with tighter constraints: see `decode_strictly`."""
        self.name, self.kind, self.limit, self.limit_bytes = name, kind, limit, limit_bytes
        self._strict = msgspec.json.Decoder(_envelope(name, list[strict])) if strict is not None else None
        self._whole = msgspec.json.Decoder(_envelope(name, list[kind]))
        self._split = msgspec.json.Decoder(_envelope(name, list[msgspec.Raw]))
        self._loose = _envelope(name, list[Any])
        self._one = msgspec.json.Decoder(kind)

    def decode_strictly(self, body: bytes | Sequence[Any]) -> list[T] | None:
        """The objects, if every one of a body keeps the constraints of `strict`; None if anything at all is wrong."""
        if self._strict is None or not isinstance(body, bytes) or len(body) > self.limit_bytes:
            return None
        try:
            found = getattr(self._strict.decode(body), self.name)
        except DECODING_ERRORS:
            return None
        return found if 0 < len(found) <= self.limit else None

    def decode(self, body: bytes | Sequence[Any]) -> tuple[list[int], list[T], list[Rejection]]:
        """(positions, objects, rejections) of a JSON body, or of a list of already decoded objects.

        Raises:
            BodyTooLarge: more bytes than allowed.
            MalformedBody: not JSON.
            InvalidInput: not the envelope, no objects, or too many.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            self._check_count(len(body))
            return self._one_by_one(body, self._convert)
        if len(body) > self.limit_bytes:
            raise BodyTooLarge(f"The body has {len(body):,} bytes: send at most {self.limit_bytes:,} at a time")
        try:
            found = getattr(self._whole.decode(body), self.name)
        except DECODING_ERRORS:
            return self._separately(body)
        self._check_count(len(found))
        return list(range(len(found))), found, []

    def _separately(self, body: bytes) -> tuple[list[int], list[T], list[Rejection]]:
        try:
            raws = getattr(self._split.decode(body), self.name)
        except msgspec.ValidationError as error:
            raise self._wrong_shape(error) from error
        except DECODING_ERRORS:
            values = self._tolerant(body)
            self._check_count(len(values))
            return self._one_by_one(values, self._convert)
        self._check_count(len(raws))
        return self._one_by_one(raws, self._one.decode)

    def _tolerant(self, body: bytes) -> list[Any]:
        """Python's own parser: it passes lone surrogates, NaN and Infinity on, so that they cost one object only."""
        try:
            whole = json.loads(body, parse_constant=NotFinite)
        except RecursionError as error:
            raise MalformedBody("The body is nested too deeply to be read: send the schema's fields only") from error
        except ValueError as error:
            raise MalformedBody(f"The body is not JSON: {error}; send valid JSON in UTF-8") from error
        try:
            return getattr(msgspec.convert(whole, self._loose), self.name)
        except msgspec.ValidationError as error:
            raise self._wrong_shape(error) from error

    def _wrong_shape(self, error: Exception) -> InvalidInput:
        code, message = explain(error)
        return InvalidInput(f'{message} (the body is {{"{self.name}": [ … ]}})', reason=code)

    def _convert(self, value: Any) -> T:
        found = msgspec.convert(value, self.kind)
        msgspec.json.encode(found)  # raises on lone surrogates, which no store holds
        return found

    def _one_by_one(self, values: Sequence[Any], decode: Any) -> tuple[list[int], list[T], list[Rejection]]:
        positions, found, rejected = [], [], []
        for index, value in enumerate(values):
            try:
                found.append(decode(value))
                positions.append(index)
            except DECODING_ERRORS as error:
                rejected.append(Rejection(index, *explain(error)))
        return positions, found, rejected

    def _check_count(self, count: int) -> None:
        if count == 0:
            raise InvalidInput(f"{self.name} is empty: send 1 to {self.limit:,}")
        if count > self.limit:
            raise InvalidInput(f"{self.name} holds {count:,} entries: send at most {self.limit:,} at a time")


def _envelope(name: str, kind: Any) -> type[msgspec.Struct]:
    return msgspec.defstruct(f"{name.title()}Body", [(name, kind)], forbid_unknown_fields=True)
