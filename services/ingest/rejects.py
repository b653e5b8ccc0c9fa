"""The rejects file: a JSON line for every row that was not stored, with its rule and its original."""

from pathlib import Path
from types import TracebackType

import polars as pl

from services.core.errors import ImportFailed


class RejectsFile:
    """Written beside its final name and renamed at the end, so that a failed import leaves none."""

    def __init__(self, path: Path | None, source: Path) -> None:
        self.path, self.source = path, source
        self._part = path.with_name(path.name + ".part") if path is not None else None
        self._file = None

    def __enter__(self) -> "RejectsFile":
        if self._part is not None:
            try:
                self._file = self._part.open("wb")
            except OSError as error:
                raise ImportFailed(f"{self.path}: cannot be written ({error.strerror}): check --rejects") from error
        return self

    def write(self, rejects: pl.DataFrame) -> None:
        """Append rejects (columns of `outcome.REJECT_SCHEMA`)."""
        if self._file is not None and rejects.height:
            named = rejects.select(pl.lit(str(self.source)).alias("file"), pl.all())
            named.write_ndjson(self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        self._file.close()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)
