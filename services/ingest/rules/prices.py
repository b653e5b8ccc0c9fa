"""Prices as numbers: "$1,299.00", "1.299,00 €", "12 - 15", "¥ 1,200"."""

import polars as pl

NUMBER = r"-?\d(?:[\d.,'’   ]*\d)?"
"""A number with any grouping. NFKC has not been applied: no-break and narrow spaces count as groups."""


def parse_price(text: pl.Expr) -> pl.Expr:
    """The price in a text as Float64, null where there is none. Of a range, the first number ("from").

    A plain number is taken as it is. Otherwise the separator that comes last is the decimal one, if it comes once;
    a lone comma before exactly three digits groups thousands, and so does a lone point before exactly three digits
    where a euro sign stands beside it.
    """
    stripped = text.str.strip_chars()
    token = stripped.str.replace(r"^\D*?-?\s*\p{Sc}\s*-?", "").str.extract(f"({NUMBER})", 1)
    compact = token.str.replace_all(r"['’   ]", "")
    decimal_comma = compact.str.contains(r"\.\d+,\d+$|^-?\d+,\d{1,2}$|^-?\d+,\d{4,}$|^-?0,\d+$")
    decimal_comma |= compact.str.contains(r"^-?\d{1,3}(\.\d{3})+$") & (
        stripped.str.contains("€", literal=True) | compact.str.contains(r"\..*\.")
    )
    european = compact.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    english = compact.str.replace_all(",", "", literal=True)
    grouped = pl.when(decimal_comma).then(european).otherwise(english).cast(pl.Float64, strict=False)
    negative = stripped.str.contains(r"^-|^\p{Sc}\s*-")
    signed = pl.when(negative & (grouped > 0)).then(-grouped).otherwise(grouped)
    return pl.coalesce(stripped.cast(pl.Float64, strict=False), signed)
