"""`portrait up` and `portrait down`."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.status import Status

from services.cli.output import console, print_json
from services.core.addresses import read_addresses
from services.core.settings import Settings, get_settings
from services.runtime.state import PartState, PartStatus, Phase, StackState

MARKS = {
    PartStatus.READY: "[green]✓[/]",
    PartStatus.DONE: "[green]✓[/]",
    PartStatus.RESTARTING: "[yellow]↻[/]",
    PartStatus.FAILED: "[red]✗[/]",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run in the background and return.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="With --detach: return when requests are answered.")] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON once they are known.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait with --detach.")] = 300.0,
) -> None:
    """Start the stack: PostgreSQL, Valkey, migrations, features, workers and the gateway."""
    from services.core.logging import configure_logging  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.runtime.launch import start_detached  # noqa: PLC0415 - as above
    from services.runtime.supervisor import Supervisor  # noqa: PLC0415 - as above

    settings = get_settings()
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    view = StartView(quiet=json)
    if detach:
        try:
            until = Phase.READY if wait else Phase.STARTED
            start_detached(settings, until=until, timeout_s=timeout, on_state=view.show_all)
        finally:
            view.close()
        _report(settings, json, detached=True)
        return
    configure_logging("WARNING" if settings.log_level.upper() == "INFO" else settings.log_level)

    def listener(state: StackState, part: PartState | None) -> None:
        view.show_all(state)
        if part is None and state.phase is Phase.READY and not view.announced:
            view.announced = True
            view.close()
            _report(settings, json, detached=False)

    try:
        Supervisor(settings, listener).run()
    finally:
        view.close()


def down() -> None:
    """Stop the stack of this home and everything it began."""
    from services.runtime.shutdown import take_down  # noqa: PLC0415 - loaded when needed: --help stays quick

    settings = get_settings()
    began = time.monotonic()
    with console().status("Stopping…"):
        ran = take_down(settings.home)
    took = time.monotonic() - began
    console().print(f"Stopped in {took:.1f} s." if ran else f"Nothing runs on {settings.home}.", soft_wrap=True)


class StartView:
    """Prints a line for each part that changed, with the seconds it took, and a spinner for what is awaited."""

    def __init__(self, quiet: bool) -> None:
        self.announced = False
        self._quiet = quiet
        self._shown: dict[str, tuple[PartStatus, int]] = {}
        self._spinner: Status | None = None

    def show_all(self, state: StackState) -> None:
        """Show what changed since the last call."""
        if self._quiet:
            return
        for part in state.parts:
            if self._shown.get(part.name) != (part.status, part.restarts):
                self._shown[part.name] = (part.status, part.restarts)
                self._show(part)
        self._spin([part.name for part in state.parts if part.status is PartStatus.STARTING], state.phase)

    def close(self) -> None:
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _show(self, part: PartState) -> None:
        mark = MARKS.get(part.status)
        if mark is None:
            return
        took = f"{part.seconds:6.1f} s" if part.seconds is not None else " " * 8
        unchanged = "unchanged" if part.status is PartStatus.DONE and part.seconds is None else ""
        remark = (part.error or "").partition("\n")[0].partition(". The end of")[0] or part.address or unchanged
        console().print(f"{mark} {part.name:<12} [dim]{took}[/]  {remark}", soft_wrap=True)

    def _spin(self, awaited: list[str], phase: Phase) -> None:
        if not console().is_terminal or not awaited or phase is Phase.READY:
            self.close()
            return
        text = f"starting {', '.join(awaited)} …"
        if self._spinner is None:
            self._spinner = console().status(text)
            self._spinner.start()
        else:
            self._spinner.update(text)


def _report(settings: Settings, as_json: bool, *, detached: bool) -> None:
    addresses = read_addresses(settings.home)
    if addresses is None:
        return
    if as_json:
        document = {"home": str(settings.home), **asdict(addresses)}
        print_json({name: _without_password(value) for name, value in document.items()})
        return
    hint = "stop with `portrait down`" if detached else "stop with Ctrl-C"
    console().print(f"\nPortrait answers at [bold]{addresses.http_url}[/] ({hint}).", soft_wrap=True)


def _without_password(value: str | None) -> str | None:
    """An address with its password masked: what is printed may be logged."""
    head, at, tail = (value or "").rpartition("@")
    scheme, separator, credentials = head.partition("://")
    if not at or ":" not in credentials:
        return value
    return f"{scheme}{separator}{credentials.partition(':')[0]}:***@{tail}"
