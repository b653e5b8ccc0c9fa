"""`portrait demo`: a shop in one command, invented or from real files, served until Ctrl-C."""

import signal
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.output import console, human_seconds, print_table

if TYPE_CHECKING:
    from services.cli.demo_steps import Step
    from services.core.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    data: Annotated[
        Path | None,
        typer.Option("--data", exists=True, file_okay=False, help="Folder with real items and events files."),
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="Users of the simulated shop.")] = 1_000,
    items: Annotated[int, typer.Option(min=1, help="Items of the simulated shop.")] = 1_000,
    days: Annotated[int, typer.Option(min=1, help="Days of history of the simulated shop.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulated shop.")] = 1,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Show the shop, then stop instead of serving it.")] = False,
) -> None:
    """Start the stack, fill it with a shop, show portraits and recommendations, and serve until Ctrl-C."""
    from services.cli.demo_show import show  # noqa: PLC0415 - as above
    from services.cli.demo_steps import fill, shop_of  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.clock import utc_now  # noqa: PLC0415 - as above
    from services.core.hold import hold  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.runtime.shutdown import take_down  # noqa: PLC0415 - as above

    settings = get_settings()
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    began = utc_now()
    with _interrupts() as interrupts:
        try:
            shop = shop_of(data, settings, users=users, items=items, days=days, seed=seed, now=began)
            with hold(settings.home, "the demo shop is being filled"):
                _start(settings)
                interrupts.heed()
                addresses = resolve_addresses(settings)
                steps = fill(settings, addresses, shop)
            interrupts.heed()
            _wait_until_ready(settings)
            _print_steps(steps, began)
            show(settings, addresses, shop)
            interrupts.heed()
            if not once:
                console().print(
                    f"\nServing at [bold]{addresses.http_url}[/] until Ctrl-C. Try the curl tour of README.md, "
                    f"or open {addresses.http_url}/docs",
                    soft_wrap=True,
                )
                interrupts.wait()
        except KeyboardInterrupt:
            console().print("\nStopping…")
        finally:
            interrupts.ignore()
            take_down(settings.home)


def _start(settings: "Settings") -> None:
    from services.cli.up import StartView  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.runtime.launch import start_detached  # noqa: PLC0415 - as above
    from services.runtime.state import Phase  # noqa: PLC0415 - as above

    view = StartView(quiet=False)
    try:
        start_detached(settings, until=Phase.STARTED, timeout_s=300.0, on_state=view.show_all)
    finally:
        view.close()


def _wait_until_ready(settings: "Settings") -> None:
    from services.cli.demo_steps import wait_until_ready  # noqa: PLC0415 - loaded when needed: --help stays quick

    with console().status("waiting for the gateway …"):
        wait_until_ready(settings)


def _print_steps(steps: "list[Step]", began: datetime) -> None:
    from services.core.clock import utc_now  # noqa: PLC0415 - loaded when needed: --help stays quick

    if steps:
        rows = [(step.name, step.what, human_seconds(step.seconds), f"{step.peak_mib:,.0f} MiB") for step in steps]
        print_table(("step", "what", "took", "peak memory"), rows, title="\nFilling the shop")
    console().print(f"[dim]Ready {human_seconds((utc_now() - began).total_seconds())} after the start.[/]")


class _interrupts:
    """Ctrl-C and SIGTERM end the demo, in whatever step they come, even if that step swallows the exception.

    A library's `except:` around an optional import, or a finaliser, can swallow a KeyboardInterrupt. So each signal is
    also remembered. And a shell that starts the demo in the background has it ignore SIGINT unless it asks for it.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._earlier: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_interrupts":
        self._earlier = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def heed(self) -> None:
        """Raise KeyboardInterrupt if a signal came earlier."""
        if self._asked.is_set():
            raise KeyboardInterrupt

    def wait(self) -> None:
        """Raise KeyboardInterrupt when a signal comes, or at once if one came earlier."""
        self._asked.wait()
        self.heed()

    def ignore(self) -> None:
        """From now on the demo is stopping: an impatient second Ctrl-C must not leave half of it running."""
        for number in self._earlier:
            signal.signal(number, signal.SIG_IGN)

    def _ask(self, number: int, frame: object) -> None:
        self._asked.set()
        raise KeyboardInterrupt
