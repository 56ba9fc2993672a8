"""The log: structured, on stderr, one line an event."""

import logging
import sys

import structlog

from infrastructure.settings import LogLevel, Settings

# The HTTP clients log every header that a provider sends, and a provider may echo what it was told.
CHATTY = ("httpx", "httpcore", "httpx2", "httpcore2", "openai", "asyncio")


def configure_logs(settings: Settings, *, unless_asked: LogLevel = "warning") -> None:
    """Send our log and the libraries' to stderr: JSON, or coloured lines on a terminal.

    unless_asked: the level when none is set; a server tells of its requests, a command only of trouble.
    """
    given = "study_log_level" in settings.model_fields_set
    level = (settings.study_log_level if given else unless_asked).upper()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    terminal = sys.stderr.isatty()
    last: list[structlog.typing.Processor] = (
        # A plain traceback: the rich one shows variables, and with them what people asked.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=())],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel("WARNING")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
