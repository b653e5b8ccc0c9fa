"""Work ahead in a second thread, so that reading and rules overlap with waiting for the database."""

import threading
from collections.abc import Iterable, Iterator
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")
END = object()


def prefetch(values: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The same values in the same order; up to `depth` of them are made before they are asked for.

    What the maker raises is raised here. Closing the generator ends the thread.
    """
    queue: Queue[tuple[object, BaseException | None]] = Queue(maxsize=depth)
    stopped = threading.Event()

    def put(value: object, error: BaseException | None = None) -> bool:
        while not stopped.is_set():
            try:
                queue.put((value, error), timeout=0.1)
                return True
            except Full:
                continue
        return False

    def make() -> None:
        try:
            for value in values:
                if not put(value):
                    return
            put(END)
        except BaseException as error:
            put(END, error)

    thread = threading.Thread(target=make, name="import-reader", daemon=True)
    thread.start()
    try:
        while True:
            value, error = queue.get()
            if error is not None:
                raise error
            if value is END:
                return
            yield value
    finally:
        stopped.set()
        thread.join()
