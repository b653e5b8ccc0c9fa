"""One stack for all tests of faults, on a small disk of its own: each test leaves it whole."""

from collections.abc import Iterator

import pytest

from tests.e2e.faults.stack import FaultStack, running_stack

DISK_MIB = 900


@pytest.fixture(scope="session")
def fault_stack() -> Iterator[FaultStack]:
    """A stack that may be hurt, filled with a small shop."""
    with running_stack(items=150, users=80, disk_mib=DISK_MIB) as stack:
        yield stack
