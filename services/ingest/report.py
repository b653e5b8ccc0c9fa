"""What an import did, for the summary table, `--json` and tests."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from services.db.events import InsertCounts
from services.db.items import ItemCounts
from services.ingest.importers.base import Kind
from services.ingest.rules.names import DROPPING, Rule


@dataclass
class ImportReport:
    """Counts of one import.

    `rows` are the file's; `records` the events or items in them (a line of a sequence file holds many). `rules` counts
    records dropped (malformed, impossible, robot, duplicate) or changed.
    """

    file: str
    format: str
    kind: Kind
    rows: int = 0
    records: int = 0
    events: InsertCounts = field(default_factory=InsertCounts)
    items: ItemCounts = field(default_factory=ItemCounts)
    rules: Counter[Rule] = field(default_factory=Counter)
    robots: int = 0
    seconds: float = 0.0
    bytes: int = 0
    rejects: str | None = None
    first_reject: str | None = None

    @property
    def rejected(self) -> int:
        """Rows that were dropped for what they say; duplicates and robots are not among them."""
        return self.rules[Rule.MALFORMED] + self.rules[Rule.IMPOSSIBLE]

    @property
    def stored(self) -> int:
        """New events, or items inserted, updated or found unchanged."""
        if self.kind is Kind.EVENTS:
            return self.events.accepted
        return self.items.inserted + self.items.updated + self.items.unchanged

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        counts = vars(self.events) if self.kind is Kind.EVENTS else vars(self.items)
        return {
            "file": self.file,
            "format": self.format,
            "kind": str(self.kind),
            "rows": self.rows,
            "records": self.records,
            **counts,
            "rejected": self.rejected,
            "robots": self.robots,
            "rules": {str(rule): self.rules[rule] for rule in Rule if self.rules[rule]},
            "seconds": round(self.seconds, 3),
            "records_per_second": round(self.records_per_second),
            "bytes": self.bytes,
            "rejects_file": self.rejects,
        }

    def rule_rows(self) -> list[tuple[str, str, int]]:
        """(rule, what it did, rows) for the summary table."""
        done = {rule: "dropped" if rule in DROPPING else "changed" for rule in Rule}
        return [(str(rule), done[rule], self.rules[rule]) for rule in Rule if self.rules[rule]]
