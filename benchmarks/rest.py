"""What the embedded stack takes while nobody asks anything: `portrait up`, two minutes to settle, one to look.

Memory is the proportional set size of all processes together: a page that several share counts once. Processor time is
that of all of them over a minute, as a share of one core; it does not depend on what else the machine does, but for
caches that others empty. The yardstick is a Python that imports nothing, in the same minute.

Bars: 3 GB; 5% of a core. Run: `python -m benchmarks.rest`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks._sizes import size
from services.runtime.state import read_state

SETTLE_S, LOOK_S = (120.0, 45.0), (60.0, 20.0)
MEMORY_BAR_GB, PROCESSOR_BAR = 3.0, 0.05


def run() -> dict[str, Any]:
    """Gigabytes of all processes at rest, and their share of a core."""
    home = Path(tempfile.mkdtemp(prefix="pr-")).resolve()
    try:
        _portrait(home, "up", "--detach", "--wait", "--port", "0", "--timeout", "600")
        time.sleep(size("SETTLE", *SETTLE_S))
        state = read_state(home)
        assert state is not None  # `up --wait` returned
        figures = look(psutil.Process(state.pid), size("LOOK", *LOOK_S))
    finally:
        _portrait(home, "down")
        shutil.rmtree(home, ignore_errors=True)
    memory, share = figures["memory_gb"], figures["processor_share"]
    return {
        "name": "rest",
        "figure": memory,
        "bar": MEMORY_BAR_GB,
        "holds": memory <= MEMORY_BAR_GB and share <= PROCESSOR_BAR,
        "figures": figures | {"processor_bar": PROCESSOR_BAR},
    }


def look(root: psutil.Process, seconds: float) -> dict[str, Any]:
    """Memory and processor time of a process and all under it; `largest`: what takes most of each."""
    idle = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    before, started = _processor_seconds(root), time.monotonic()
    time.sleep(seconds)
    elapsed, after = time.monotonic() - started, _processor_seconds(root)
    memory = {pid: _memory(pid) for pid in after}
    bare = _memory(idle.pid)
    idle.communicate(b"\n")
    spent = {pid: (after[pid] - before.get(pid, 0.0)) / elapsed for pid in after}
    return {
        "memory_gb": round(sum(memory.values()) / 1e9, 3),
        "processor_share": round(sum(spent.values()), 4),
        "processes": len(after),
        "resident_sizes_gb": round(sum(_resident(pid) for pid in after) / 1e9, 3),
        "bare_python_mb": round(bare / 1e6, 1),
        "largest_mb": _top({_name(pid): memory[pid] / 1e6 for pid in after}),
        "busiest": _top({_name(pid): spent[pid] for pid in after}, 4),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _processor_seconds(root: psutil.Process) -> dict[int, float]:
    found = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found[process.pid] = times.user + times.system
    return found


def _memory(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_full_info().pss
    except psutil.NoSuchProcess:
        return 0


def _resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _name(pid: int) -> str:
    """The process's part and what it is in it, with its id: names repeat."""
    try:
        process = psutil.Process(pid)
        part = process.environ().get("PORTRAIT_SUPERVISED_PART", "")
        return f"{part or 'server'} {process.name()[:24]} {pid}"
    except psutil.Error:
        return str(pid)


def _top(values: dict[str, float], digits: int = 1) -> dict[str, float]:
    order = sorted(values, key=values.__getitem__, reverse=True)[:8]
    return {name: round(values[name], digits) for name in order}


def _portrait(home: Path, *arguments: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PORTRAIT_")}
    command = [sys.executable, "-P", "-m", "services.cli.main", *arguments]
    subprocess.run(command, check=True, env=clean | {"PORTRAIT_HOME": str(home)}, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
