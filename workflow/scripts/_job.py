"""How every script ends: well, or with one message and a non-zero exit."""

import atexit
import logging
import os
import re
import sys
import time
import traceback
import warnings
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the library lies

from tokentrails.errors import TokentrailsError, is_disk_full
from tokentrails.running.fork_server import INTERRUPTED, prepare_process, run_in_fork
from tokentrails.running.job_cost import JobCost

STARTED = time.monotonic()
_CONTROL = re.compile(r"[\0-\t\v-\x1f\x7f-\x9f]")
"""Characters that move the cursor, colour or clear, but for the end of a line."""

prepare_process()


@contextmanager
def job(snakemake, libraries="tables"):
    """Run a script's work with its log file open, where these libraries are loaded already.

    Without libraries it runs in this process, which sees Ctrl-C itself.

    What users can mend is said in one message. Anything else is our fault: the traceback goes to
    the log, and the message says where that is. Nothing that follows the block is run.
    """
    if libraries:
        run_in_fork(libraries)
    log = Path(snakemake.log[0])
    log.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=log, filemode="w", level=logging.INFO, format="%(message)s")
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    values = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
    name = f"{snakemake.rule} ({values})" if values else snakemake.rule
    try:
        if any(path.endswith(".parquet") for path in snakemake.input):
            from tokentrails.files.origin import refuse_strangers

            refuse_strangers(snakemake.input)
        yield
    except TokentrailsError as error:
        _stop(f"{name}: {error}")
    # Libraries written in Rust panic with an error that is no Exception.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            sys.exit(INTERRUPTED)
        if isinstance(error, SystemExit):
            raise
        if is_disk_full(error):
            _stop(
                f"{name}: the disk is full: {error}\n"
                "Hint: make room, then run the same command again; finished outputs are kept."
            )
        logging.info(traceback.format_exc())
        _stop(
            f"{name}: {type(error).__name__}: {error}\n"
            f"Hint: this is unexpected; the traceback is in {log}."
        )
    logging.info(JobCost.since(STARTED))
    _end()


def warn(message):
    """Say a doubt on the terminal, too: nobody reads the log of a job that went well."""
    _say(f"Warning: {message}")


def shortened(text):
    """What others wrote, such as a chat template or all words of a text, in one line of a few."""
    return shorten(text, 300, placeholder=" …")


def _stop(message):
    _say(message)
    sys.exit(1)


def _say(message):
    """Say it in the log and on the terminal, which nothing that others wrote may steer."""
    message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], message)
    logging.info(message)
    print(f"\n{message}\n", file=sys.stderr)


def _end():
    """Leave at once: where torch is loaded, Python needs a second to take all of it apart.

    Every file is closed by now, since what wrote an output has moved it into its place.
    """
    atexit._run_exitfuncs()  # what libraries have to do at the end, and logging
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
