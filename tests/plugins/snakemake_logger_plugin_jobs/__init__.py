"""`--logger jobs`: each job with outputs, as it is announced, as a line of JSON."""

import json
import logging
import sys

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    writes_to_stream = True  # in place of Snakemake's own words
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) != LogEvent.JOB_INFO:
            print(record.getMessage(), file=sys.stderr)
        elif record.output:  # targets have none
            job = [record.rule_name, "/".join(record.wildcards.values())]
            print(json.dumps([job, record.priority]))
