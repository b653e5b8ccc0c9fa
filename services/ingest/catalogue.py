"""Items and users that come over HTTP: decoded, cleaned, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from services.core.errors import BodyTooLarge, InvalidInput, MalformedBody
from services.ingest.batches import DECODING_ERRORS, BatchDecoder, Rejection
from services.ingest.events import ParsedBatch
from services.ingest.item_wire import Attributes, WireItem, attributes_json, clean_items, item_frame
from services.ingest.rules.checks import first_failures, id_checks
from services.ingest.rules.item_checks import item_checks
from services.ingest.rules.limits import ATTRIBUTES_BYTES, MAX_ITEMS, MAX_ITEMS_BYTES, MAX_USER_BYTES
from services.ingest.rules.text import clean_value
from services.ingest.wire_errors import explain

DECODER = BatchDecoder("items", WireItem, limit=MAX_ITEMS, limit_bytes=MAX_ITEMS_BYTES)


class WireUser(msgspec.Struct, forbid_unknown_fields=True):
    """What a shop says about a user; what is absent stays as it is."""

    attributes: Attributes | None = None
    consent: dict[str, bool] | None = None


USER_DECODER = msgspec.json.Decoder(WireUser)


@dataclass(frozen=True)
class ParsedUser:
    """Attributes and consent to store; None leaves what is stored."""

    attributes: dict[str, Any] | None
    consent: dict[str, bool] | None


def parse_items(body: bytes | Sequence[Any], now: datetime) -> ParsedBatch:
    """Validate up to 1,000 items: the JSON body `{"items": […]}`, or a list of decoded items.

    Every item stands alone, as events do. `now` is accepted for symmetry: an item may be published in the future.

    Raises:
        MalformedBody, InvalidInput, BodyTooLarge: nothing of the body can be taken.
    """
    positions, items, rejected = DECODER.decode(body)
    frame = clean_items(item_frame(items))
    checks = item_checks()
    failures = first_failures(frame, checks)
    rejected += [
        Rejection(positions[row], checks[check].code, checks[check].message)
        for row, check in enumerate(failures)
        if check is not None
    ]
    rejected.sort(key=lambda rejection: rejection.index)
    return ParsedBatch(frame.filter(failures.is_null()), rejected)


def parse_user(body: bytes) -> ParsedUser:
    """Validate the body of PUT /users/{id}.

    Raises:
        MalformedBody, InvalidInput, BodyTooLarge: with the field and the cure.
    """
    if len(body) > MAX_USER_BYTES:
        raise BodyTooLarge(f"The body has {len(body):,} bytes: send at most {MAX_USER_BYTES:,} about a user")
    try:
        user = USER_DECODER.decode(body)
    except msgspec.ValidationError as error:
        code, message = explain(error)
        raise InvalidInput(message, reason=code) from error
    except DECODING_ERRORS as error:
        raise MalformedBody(f"The body cannot be read: {error}; send valid JSON in UTF-8") from error
    attributes = None if user.attributes is None else clean_value(user.attributes)
    if attributes is not None and len(attributes_json(attributes)) > ATTRIBUTES_BYTES:
        raise InvalidInput(f"attributes take more than {ATTRIBUTES_BYTES:,} bytes: send fewer")
    return ParsedUser(attributes, None if user.consent is None else clean_value(user.consent))


def check_id(name: str, value: str) -> str:
    """An id from a path or query string, if it is one.

    Raises:
        InvalidInput: empty, too long, control characters or not valid Unicode.
    """
    try:
        frame = pl.DataFrame({name: [value]}, schema={name: pl.String})
    except UnicodeError as error:
        raise InvalidInput(f"{name} is not valid Unicode: send UTF-8") from error
    checks = id_checks(name)
    failure = first_failures(frame, checks)[0]
    if failure is not None:
        raise InvalidInput(checks[failure].message, reason=checks[failure].code)
    return value
