"""The drawings of data/shapes.toml: parsed primitives and the canvas that paints them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import ImageDraw

from services.simulation.vocabulary import read_table

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]

FIXED_PAINTS: dict[str, Colour] = {
    "metal": (176, 182, 190),
    "black": (38, 38, 42),
    "white": (250, 250, 248),
    "wood": (164, 116, 72),
    "glass": (196, 222, 234),
    "green": (84, 142, 78),
    "paper": (244, 238, 224),
    "skin": (228, 186, 156),
}
NUMBERS_BEFORE_POINTS = {"poly": 0, "rect": 1, "ellipse": 0, "line": 1, "arc": 3, "pie": 2}


@dataclass(frozen=True)
class Primitive:
    kind: str
    paint: str
    numbers: tuple[float, ...]
    points: Points

    @classmethod
    def parse(cls, text: str) -> "Primitive":
        """One line of the data file, such as `rect dark 2 29,82 71,88`."""
        kind, paint, *rest = text.split()
        count = NUMBERS_BEFORE_POINTS[kind]
        points = [tuple(map(float, pair.split(","))) for pair in rest[count:]]
        return cls(kind, paint, tuple(map(float, rest[:count])), points)


@cache
def shapes() -> dict[str, list[Primitive]]:
    """The drawings by name, read once a process."""
    return {
        name: [Primitive.parse(line) for line in lines] for name, lines in read_table("shapes.toml")["shapes"].items()
    }


@dataclass(frozen=True)
class Paints:
    """The colours of one product by paint name."""

    colours: dict[str, Colour]

    @classmethod
    def of(cls, body: np.ndarray, accent: np.ndarray) -> "Paints":
        own = body.astype(float)
        shades = {
            "body": own,
            "dark": own * 0.72 if own.mean() > 45 else own + 34,
            "light": own + (255 - own) * 0.35,
            "accent": accent.astype(float),
        }
        made = {name: tuple(np.clip(value, 0, 255).astype(int).tolist()) for name, value in shades.items()}
        return cls(FIXED_PAINTS | made)


@dataclass(frozen=True)
class Canvas:
    """A 100 × 100 drawing area placed on a picture; sizes in pixels."""

    pen: ImageDraw.ImageDraw
    scale: float
    left: float
    top: float
    mirrored: bool

    def paint(self, drawing: list[Primitive], paints: Paints) -> None:
        for primitive in drawing:
            self._paint(primitive, paints.colours[primitive.paint])

    def _paint(self, primitive: Primitive, colour: Colour) -> None:
        points = [self._place(x, y) for x, y in primitive.points]
        match primitive.kind:
            case "poly":
                self.pen.polygon(points, fill=colour)
            case "line":
                self.pen.line(points, fill=colour, width=self._width(primitive.numbers[0]), joint="curve")
            case "rect":
                self.pen.rounded_rectangle(_box(points), radius=primitive.numbers[0] * self.scale, fill=colour)
            case "ellipse":
                self.pen.ellipse(_box(points), fill=colour)
            case "arc":
                width, start, stop = primitive.numbers
                self.pen.arc(_box(points), *self._angles(start, stop), fill=colour, width=self._width(width))
            case "pie":
                self.pen.pieslice(_box(points), *self._angles(*primitive.numbers), fill=colour)

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return self.left + self.scale * (100 - x if self.mirrored else x), self.top + self.scale * y

    def _width(self, width: float) -> int:
        return max(1, round(width * self.scale))

    def _angles(self, start: float, stop: float) -> tuple[float, float]:
        return (180 - stop, 180 - start) if self.mirrored else (start, stop)


def _box(points: Points) -> list[float]:
    (x0, y0), (x1, y1) = points
    return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]
