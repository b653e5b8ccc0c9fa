"""Who gives way to whom: a nice process in a session of its own gives way only if its session is nice too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime.processes import lower_priority


def test_the_session_is_as_nice_as_its_leader() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        group = Path(f"/proc/{child.pid}/autogroup")
        if not group.exists():
            pytest.skip("this kernel has no autogroups")
        lower_priority(child.pid, 15)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 15
        assert group.read_text().split()[-1] == "15"
    finally:
        child.communicate()
