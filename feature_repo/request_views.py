"""Features of the request itself, computed on demand, the same way offline and online."""

import pandas as pd
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, String, UnixTimestamp

from feature_repo import names
from feature_repo.entities import OWNER
from feature_repo.profile_views import user_affinities

request = RequestSource(
    name="request",
    schema=[
        Field(name="requested_at", dtype=UnixTimestamp),
        Field(name="item_price", dtype=Float64),
        Field(name="surface", dtype=String),
    ],
    description="What a request says: when, where, and the price of the item in question.",
    owner=OWNER,
)


@on_demand_feature_view(
    name=names.REQUEST_CONTEXT,
    sources=[request, user_affinities[["price_typical"]]],
    schema=[  # described in comments: Feast compares these fields with bare ones that it infers
        Field(name="hour_sine", dtype=Float64),  # sine of the hour of day (UTC) as an angle
        Field(name="hour_cosine", dtype=Float64),  # cosine of the hour of day (UTC) as an angle
        Field(name="weekend", dtype=Float64),  # 1 on Saturday and Sunday (UTC)
        Field(name="price_ratio", dtype=Float64),  # price over the user's typical price; 1 where unknown
        Field(name="on_product_page", dtype=Float64),  # 1 where the surface is a product page
    ],
    mode="pandas",
    description="When and where the request comes from, and the price against what the user is used to.",
    tags={"group": "request"},
    owner=OWNER,
)
def request_context(inputs: pd.DataFrame) -> pd.DataFrame:
    """Feast stores this function's source: everything it needs is imported inside."""
    import numpy as np  # noqa: PLC0415 - see above
    import pandas as pd  # noqa: PLC0415 - see above

    moment = pd.to_datetime(inputs["requested_at"], utc=True)
    angle = (moment.dt.hour + moment.dt.minute / 60) * (2 * np.pi / 24)
    ratio = inputs["item_price"].astype("float64") / inputs["price_typical"].astype("float64")
    return pd.DataFrame(
        {
            "hour_sine": np.sin(angle),
            "hour_cosine": np.cos(angle),
            "weekend": (moment.dt.dayofweek >= 5).astype("float64"),
            "price_ratio": ratio.replace([np.inf, -np.inf], np.nan).fillna(1.0),
            "on_product_page": (inputs["surface"] == "product").astype("float64"),
        }
    )
