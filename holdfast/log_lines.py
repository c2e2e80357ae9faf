"""Log lines of the processes: one line an event, key=value or JSON, on standard error.

Whatever the libraries say through `logging` takes the same way.  A line that cannot be written (the
terminal is gone) is lost; it must not take a request with it.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Final

import structlog


class LogFormat(enum.StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(enum.StrEnum):
    """The least important lines that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The table `[log]`, which may be left out."""

    format: LogFormat = LogFormat.TEXT
    level: LogLevel = LogLevel.INFO


_FIRST_KEYS: Final = ("timestamp", "level", "process", "event")


def with_json(config: LogConfig, *, as_json: bool) -> LogConfig:
    """The file's settings, with JSON when the command line says so."""
    return LogConfig(LogFormat.JSON, config.level) if as_json else config


def configure_log(config: LogConfig, process: str) -> None:
    """Send all log lines of this process to standard error, with its name in each."""
    level = logging.getLevelNamesMapping()[config.level.value.upper()]

    def named(
        _logger: object, _method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        event["process"] = process
        return event

    render: structlog.types.Processor = structlog.processors.LogfmtRenderer(
        key_order=_FIRST_KEYS, bool_as_flag=False
    )
    if config.format is LogFormat.JSON:
        render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            named,
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_unbreakable_logger,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[_ToStructlog()], force=True)


class _UnbreakableLogger:
    """Writes lines; what structlog calls a logger."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = exception = log = msg


def _unbreakable_logger(*_: object) -> _UnbreakableLogger:
    return _UnbreakableLogger()


class _ToStructlog(logging.Handler):
    """Lines of libraries."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )
