"""`portrait bench NAME`: run one benchmark script and say whether its bar holds."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.output import console, print_json, print_table
from services.core.errors import NotFound

SHORT = "PORTRAIT_BENCH_SHORT"
"""Set for a short run; benchmarks and what they start read it (benchmarks/_sizes.py)."""
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def names() -> list[str]:
    """The benchmarks that exist."""
    return sorted(path.stem for path in BENCHMARKS.glob("*.py") if not path.stem.startswith("_"))


def run_benchmark(name: str) -> dict[str, Any]:
    """The benchmark's answer: name, figure, bar, holds, figures.

    Raises:
        NotFound: no benchmark has this name.
    """
    if name not in names():
        raise NotFound(f"There is no benchmark {name!r}; there are: {', '.join(names())}")
    spec = importlib.util.spec_from_file_location(f"benchmarks.{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None  # the file exists
    if str(BENCHMARKS.parent) not in sys.path:
        sys.path.insert(0, str(BENCHMARKS.parent))  # benchmarks share helpers as `benchmarks.…`
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.run()


def bench(
    name: Annotated[str, typer.Argument(help="The benchmark, `all`, or `list`.")],
    short: Annotated[
        bool, typer.Option("--short", help="Smaller sizes and shorter runs: a look, not a claim.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the answer to this file.")] = None,
) -> None:
    """Measure one claim against its yardstick in the same run."""
    if short:
        os.environ[SHORT] = "1"
    import orjson  # noqa: PLC0415 - loaded when needed: --help stays quick

    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    if name == "list":
        print_json(names())
        return
    answers = [_run_and_show(each) for each in (names() if name == "all" else [name])]
    if json is not None:
        document = answers if name == "all" else answers[0]
        json.write_bytes(orjson.dumps(document, option=options))
    if not all(answer["holds"] for answer in answers):
        raise typer.Exit(1)


def _run_and_show(name: str) -> dict[str, Any]:
    answer = run_benchmark(name)
    print_table(("figure", "value"), list(answer["figures"].items()), title=answer["name"])
    verdict = "[green]holds[/]" if answer["holds"] else "[red]does not hold[/]"
    console().print(f"{answer['figure']} against a bar of {answer['bar']}: {verdict}\n")
    return answer
