"""Field types that request bodies share."""

from typing import Annotated

from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=128, description="The shop's own id: any Unicode, 1–128 characters.")]
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Scalar = str | float | bool
