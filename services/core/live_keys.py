"""Keys in the online store beside Feast's, by which the tail and the gateways tell each other how portraits stand."""

ONLINE = "portrait:online"
"""`{"status": "ready"|"rebuilding", "since": epoch s}`; a store that had this key and has none was emptied."""

TAIL = "portrait:tail:{}"
"""A hash by owner: what a tail measures of itself (docs/operations.md)."""

TAILS = "portrait:tails"
"""The set of owners: a store of millions of keys cannot be searched twice a second."""

READY, REBUILDING = "ready", "rebuilding"

PARTITIONS_OWNED = "partitions"
"""The field of a report that only those have who tail users' events."""

PARTITIONS = 16
"""Partitions of users, shared out among the tails."""

LONGEST_LEASE_S = 60.0
"""Seconds. One that ends later was written by a clock that has been set back since."""
