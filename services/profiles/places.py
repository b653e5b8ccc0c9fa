"""Where values stand among others: Arrow's look-up as whole numbers, −1 for what is not there."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def places(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """(len(values),) the place of each value in `among`, −1 for one that is not there or null."""
    among = among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among
    return whole(pc.index_in(values, value_set=among, skip_nulls=True))


def whole(numbers: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """As int64, −1 for null."""
    numbers = pc.fill_null(numbers, -1) if numbers.null_count else numbers  # which costs more than to look whether
    return np.asarray(numbers).astype(np.int64)
