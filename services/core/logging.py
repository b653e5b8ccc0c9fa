"""Structured logs, one line an event; nothing secret ever enters a log line."""

import logging
import sys
import traceback
from types import TracebackType

import structlog


def configure_logging(level: str = "INFO", *, json_lines: bool | None = None) -> None:
    """Set up structlog for this process. JSON lines unless standard error is a terminal."""
    if json_lines is None:
        json_lines = not sys.stderr.isatty()
    renderer = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_traceback),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _traceback(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
    """The traceback's text. Made without `print`, which Ray Serve replaces in its replicas."""
    return "".join(traceback.format_exception(exc_info[1])).rstrip()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger bound to the component's name."""
    return structlog.get_logger(component=name)
