"""The watch over Ray's own processes."""

import os
import subprocess
import sys

import psutil

from services.serve.head import ended, head_processes


def test_a_killed_process_is_named_even_while_nobody_has_waited_for_it():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        watched = [psutil.Process(child.pid)]
        assert ended(watched) == []
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and left a zombie
        assert len(ended(watched)) == 1
        child.wait(10)
        assert len(ended(watched)) == 1
    finally:
        child.kill()
        child.wait(10)


def test_other_children_are_not_taken_for_rays():
    child = subprocess.Popen(["sleep", "600"])
    try:
        assert head_processes() == []
    finally:
        child.kill()
        child.wait(10)
