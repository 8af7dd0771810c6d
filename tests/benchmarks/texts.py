"""Any number of different short sentences, each with a target word."""

from itertools import islice, product

WHO = [
    "my uncle",
    "the old sailor",
    "her teacher",
    "a tired nurse",
    "the young pilot",
    "our neighbour",
    "the cook",
]
DID = [
    "found",
    "painted",
    "carried",
    "sold",
    "repaired",
    "forgot",
    "borrowed",
    "described",
    "measured",
    "cleaned",
]
WHICH = [
    "a small",
    "the broken",
    "an empty",
    "the yellow",
    "one heavy",
    "the wooden",
    "another",
    "the famous",
]
WHAT = [
    "table",
    "bridge",
    "letter",
    "engine",
    "basket",
    "window",
    "garden",
    "mirror",
    "ladder",
    "clock",
]
WHEN = ["Yesterday", "On Monday", "After lunch", "Last winter", "Before dawn", "Long ago"]


def sentences(n: int) -> list[tuple[str, str]]:
    """n sentences and the target word of each; at most 33,600.

    They differ before the target, so that none can be spared in a causal model.
    """
    combined = islice(product(WHAT, WHICH, DID, WHO, WHEN), n)
    made = [
        (f"{when} {who} {did} {which} {what} outside.", f" {what}")
        for what, which, did, who, when in combined
    ]
    if len(made) < n:
        raise ValueError(f"only {len(made)} sentences can be made")
    return made
