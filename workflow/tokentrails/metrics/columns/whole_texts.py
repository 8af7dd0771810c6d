"""The loop over the whole texts of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from ...files.states import places, refuse_non_finite
from ...network.checkpoint import checkpoint_name
from ...network.trace import Trace
from ...progress import progress_bar
from ...texts.whole import WholeText


def traces(
    texts: Sequence[WholeText], run: Callable[[list[int]], Trace], provenance: Mapping[str, str]
) -> Iterator[tuple[WholeText, Trace]]:
    """The texts in the order of the tables, and what the model does to each.

    Parameters
    ----------
    run: traces a text's token ids.
    provenance: names the model, checkpoint and experiment in messages.

    Raises
    ------
    TokentrailsError: if a state is not finite.
    """
    for text in each_text(texts, provenance):
        traced = run(text.token_ids)
        refuse_stream(traced.resid.numpy(), text, provenance)
        yield text, traced


def each_text(texts: Sequence[WholeText], provenance: Mapping[str, str]) -> Iterator[WholeText]:
    """The texts in the order of the tables, with a progress bar that counts their tokens."""
    label = f"{checkpoint_name(provenance)}, {provenance['experiment']}"
    with progress_bar(sum(len(text.token_ids) for text in texts), label) as bar:
        for text in sorted(texts):
            yield text
            bar.update(len(text.token_ids))


def refuse_stream(
    resid: Float[np.ndarray, "layers+1 t d"], text: WholeText, provenance: Mapping[str, str]
) -> None:
    """Raise for a text with a state before or after a block that is not finite."""
    n = len(text.token_ids)
    where = places(["resid"], len(resid) - 1)
    name = checkpoint_name(provenance)
    refuse_non_finite(resid, np.arange(n), where, [text.label] * n, name)
