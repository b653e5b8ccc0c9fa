"""What the decoder found wrong with one object, as a stable code and a sentence with the cure."""

import re

LIMIT = 300
"""Messages repeat what was sent: no longer than this."""

PLACE = re.compile(r" - at `(\$.*)`$", re.DOTALL)
WORDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "datetime": "a time",
    "NotFinite": "NaN or Infinity",
}
TIME_CURE = "write it in RFC 3339 with its offset, such as 2026-11-23T10:00:00Z"


def explain(error: Exception) -> tuple[str, str]:
    """(code, message) of a decoder's error on one event or item."""
    text = str(error)
    if isinstance(error, UnicodeError) or "surrogate" in text:
        return "invalid-unicode", "a text is not valid Unicode (a lone surrogate or broken UTF-8): send UTF-8"
    if isinstance(error, RecursionError):
        return "wrong-type", "nested too deeply: send the fields of the schema only"
    where = PLACE.search(text)
    path = _path(where.group(1)) if where else ""
    what = PLACE.sub("", text)
    code, message = _translate(what, path)
    return code, message if len(message) <= LIMIT else message[: LIMIT - 1] + "…"


def _path(place: str) -> str:
    return re.sub(r"^\$(\[\d+\])?\.?", "", place)


def _translate(what: str, path: str) -> tuple[str, str]:
    name = re.search(r"`([^`]*)`", what)
    prefix = f"{path}." if path else ""
    if what.startswith("Object contains unknown field") and name:
        return "unknown-field", f"{prefix}{name.group(1)} is not a field here: remove it or correct its name"
    if what.startswith("Object missing required field") and name:
        return "missing-field", f"{prefix}{name.group(1)} is missing: add it"
    if what.startswith("Invalid enum value"):
        return "unknown-type", f"{path} {what.removeprefix('Invalid enum value ')} is unknown: see docs/event_schema.md"
    if "RFC3339" in what or "timezone component" in what:
        return "invalid-timestamp", f"{path} is not a complete time: {TIME_CURE}"
    if "out of range" in what or re.search(r"`(int|float)` [<>]=", what):
        return "out-of-range", f"{path or 'a number'} is too large a number: correct it"
    wrong = re.match(r"Expected `([^`]+)`, got `([^`]+)`", what)
    if wrong:
        wanted = " or ".join(WORDS.get(kind, kind) for kind in wrong.group(1).split(" | ") if kind != "null")
        got = WORDS.get(wrong.group(2), wrong.group(2))
        return "wrong-type", f"{path or 'this entry'} must be {wanted}, not {got}: correct its type"
    return "malformed", f"{path + ': ' if path else ''}{what}: correct this entry"
