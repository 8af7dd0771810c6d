"""What scripts that trace whole texts begin with."""

from functools import partial

from tokentrails.network.parts import load_parts
from tokentrails.network.trace import trace


def load_tracer(run):
    """A function that traces a text's token ids, and the parts of the model that does."""
    model, architecture, parts = load_parts(run.checkpoint.folder, run.device, run.spread)
    return partial(trace, model, architecture), parts
