"""`portrait status`: each part of the stack, and the background jobs."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from services.cli.output import console, fail, human_bytes, human_seconds, print_json, print_table
from services.core.addresses import resolve_addresses
from services.core.errors import NotRunning
from services.core.settings import Settings, get_settings

NOT_RUNNING = 3
"""Exit code of a stack that does not run (as with systemctl); 1 means that a part failed."""

OPEN_JOBS = """
SELECT job_id::text AS job_id, what, status, progress, error, created_at, started_at
FROM jobs
WHERE status IN ('queued', 'running') OR (status = 'failed' AND created_at > now() - interval '1 day')
ORDER BY created_at DESC LIMIT 20
"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """Show each part, its address, memory and health, and the jobs that run. Exit code 3: nothing runs."""
    from services.runtime.report import report  # noqa: PLC0415 - loaded when needed: --help stays quick

    settings = get_settings()
    found = report(settings.home)
    jobs, remark = open_jobs(settings)
    if json:
        print_json({**asdict(found), "jobs": jobs})
    else:
        _show(found, jobs, remark)
    if not found.running:
        raise typer.Exit(NOT_RUNNING)
    if found.phase == "failed":
        raise typer.Exit(1)


def open_jobs(settings: Settings) -> tuple[list[dict[str, Any]], str | None]:
    """Jobs that wait, run, or failed during the last day; and why none can be read, where that is so."""
    import psycopg  # noqa: PLC0415 - loaded when needed: --help stays quick
    from psycopg.rows import dict_row  # noqa: PLC0415 - as above

    try:
        url = resolve_addresses(settings).database_url
        with psycopg.connect(url, connect_timeout=2, row_factory=dict_row) as connection:
            return connection.execute(OPEN_JOBS).fetchall(), None
    except NotRunning:
        return [], None
    except psycopg.Error as error:
        return [], f"The jobs cannot be read: {str(error).strip().splitlines()[0]}"


def _show(found: Any, jobs: list[dict[str, Any]], remark: str | None) -> None:
    head = f"[bold]Portrait[/] on {found.home}: {found.phase}"
    if found.running:
        head += f", {found.http_url}, up {human_seconds(found.uptime_s)}, {human_bytes(found.memory_bytes)}"
    console().print(head, soft_wrap=True)
    shown = [part for part in found.parts if found.running or part.pid]
    if shown:
        columns = ("part", "status", "health", "pid", "processes", "memory", "uptime", "restarts", "address")
        print_table(columns, [_row(part) for part in shown])
    for part in found.parts:
        if part.error:
            fail(f"{part.name}: {part.error}")
    if remark:
        fail(remark)
    if jobs:
        console().print()
        columns = ("job", "what", "status", "progress", "error")
        rows = ((job["job_id"], job["what"], job["status"], f"{job['progress']:.0%}", job["error"]) for job in jobs)
        print_table(columns, rows)


def _row(part: Any) -> tuple[object, ...]:
    health = {True: "ok", False: "no answer", None: None}[part.healthy]
    memory = human_bytes(part.memory_bytes) if part.pid else None
    uptime = human_seconds(part.uptime_s) if part.uptime_s is not None else None
    return (
        part.name,
        part.status,
        health,
        part.pid,
        part.processes or None,
        memory,
        uptime,
        part.restarts or None,
        part.address,
    )
