"""Draws docs/images/profile.svg: the events and the portrait of the worked example in docs/profiles.md.

    python docs/images/draw_profile.py

The example is computed, not typed in: the same module is asserted on by the unit tests.
"""

import sys
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit" / "profiles")]

from profile_rows import AS_OF, batch  # noqa: E402 - after the path above
from worked_example import CONFIG, MIAS, mias_events, parts, portrait, shop  # noqa: E402 - as above

from services.profiles.events import TYPES  # noqa: E402 - as above
from services.profiles.reference import ReferenceStatistics  # noqa: E402 - as above
from services.profiles.weights import base_weights, decay  # noqa: E402 - as above

WIDTH, HEIGHT = 920, 510
INK, PALE, GRID = "#1f2937", "#6b7280", "#e5e7eb"
COLOURS = {"purchase": "#7c3aed", "view": "#0891b2", "click": "#2563eb", "rating": "#d97706"}


def element(tag: str, content: str | None = None, **attributes: object) -> str:
    """One SVG element; underscores in attribute names stand for hyphens."""
    written = " ".join(f"{name.replace('_', '-')}='{value}'" for name, value in attributes.items())
    return f"<{tag} {written}/>" if content is None else f"<{tag} {written}>{escape(content)}</{tag}>"


def text(
    x: float, y: float, words: str, size: int = 13, colour: str = INK, anchor: str = "start", bold: bool = False
) -> str:
    return element(
        "text",
        words,
        x=round(x),
        y=round(y),
        font_family="system-ui, sans-serif",
        font_size=size,
        font_weight=600 if bold else 400,
        fill=colour,
        text_anchor=anchor,
    )


def stem(x: float, floor: float, height: float, colour: str, opacity: float) -> str:
    return element(
        "line", x1=x, y1=floor, x2=x, y2=round(floor - height), stroke=colour, stroke_width=3, opacity=opacity
    )


def timeline() -> list[str]:
    """Four events over 60 days: the height of a stem is the weight now, the pale part what has faded."""
    catalogue = shop()
    events = batch(catalogue, *MIAS)
    mean_rating = parts(mias_events(catalogue), catalogue).taste.sums.mean_rating
    base = base_weights(events, catalogue, ReferenceStatistics.defaults(), CONFIG).signed(mean_rating[events.user])
    now = base * decay(AS_OF - events.time, CONFIG.long_half_life)
    names = catalogue.item_ids.take(events.row).to_pylist()
    left, right, floor, tall = 100, WIDTH - 80, 230, 150
    drawn = [text(40, 34, "What Mia did, and what it weighs today", 16, bold=True)]
    drawn += [element("line", x1=left - 20, y1=floor, x2=right + 40, y2=floor, stroke=GRID, stroke_width=2)]
    curve = " ".join(
        f"{left + (right - left) * k / 60:.1f},{floor - tall * float(decay(60 - k, 60.0)):.1f}" for k in range(61)
    )
    drawn += [element("polyline", points=curve, fill="none", stroke=PALE, stroke_dasharray="3 4")]
    drawn += [text(right - 400, floor - tall + 62, "a purchase's weight halves in 60 days", 12, PALE)]
    places = [left, right - 240, right - 120, right]  # the last two days are drawn apart, or they would overlap
    ages = ["60 days ago", "yesterday", "12 hours ago", "now"]
    for x, kind, name, whole, faded, age in zip(
        places, events.type.tolist(), names, base.tolist(), now.tolist(), ages, strict=True
    ):
        colour = COLOURS[TYPES[kind]]
        drawn += [
            stem(x, floor, tall * whole, colour, 0.25),
            stem(x, floor, tall * faded, colour, 1),
            element("circle", cx=x, cy=round(floor - tall * faded), r=7, fill=colour),
            text(x + 13, floor - tall * faded + 20, f"{faded:.2f}", 14, colour, bold=True),
            text(x, floor + 22, f"{TYPES[kind]}: {name}", 13, anchor="middle"),
            text(x, floor + 40, age, 12, PALE, "middle"),
        ]
    return drawn


def bars(x: float, y: float, title: str, rows: list[tuple[str, float]], width: float, colour: str) -> list[str]:
    top = max(value for _, value in rows)
    found = [text(x, y, title, 14, bold=True)]
    for k, (name, value) in enumerate(rows):
        line = y + 26 + 26 * k
        found += [
            element(
                "rect", x=x, y=line - 12, width=round(width * value / top), height=16, rx=3, fill=colour, opacity=0.3
            ),
            text(x + 6, line, name),
            text(x + width + 10, line, f"{value:.0%}", 13, PALE),
        ]
    return found


def draw() -> str:
    """The whole picture as SVG."""
    catalogue = shop()
    mia = portrait(mias_events(catalogue), catalogue)
    body = [*timeline(), text(40, 320, "The portrait", 16, bold=True)]
    body += bars(40, 352, "Interests", [(i.name, i.weight) for i in mia.interests], 190, "#7c3aed")
    body += bars(330, 352, "Categories", list(mia.categories), 190, "#0891b2")
    body += bars(620, 352, "Brands", list(mia.brands), 190, "#d97706")
    price = mia.price
    body += [
        text(620, 456, "Price", 14, bold=True),
        text(620, 482, f"typically {price.typical:.2f}, mostly {price.low:.2f} to {price.high:.2f}"),
        text(40, 456, "Standing", 14, bold=True),
        text(40, 482, f"confidence {mia.confidence:.2f}, {mia.lifecycle}"),
    ]
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' "
        f"aria-label='The events and the portrait of the worked example'>"
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>{''.join(body)}</svg>\n"
    )


if __name__ == "__main__":
    Path(__file__).with_name("profile.svg").write_text(draw())
