"""Whether this worker is to end: set in its parent at a warm shutdown, seen by tasks that run for good in children."""

import multiprocessing

requested = multiprocessing.Event()
"""Made when the parent imports this module, before it forks."""
