"""Any number of different short sentences, each with a target word."""

from itertools import islice, product

WHO = [
    "My uncle",
    "The old sailor",
    "Her teacher",
    "A tired nurse",
    "The young pilot",
    "Our neighbour",
    "The cook",
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
WHERE = [
    "near the station",
    "after lunch",
    "in the village",
    "before the storm",
    "for a friend",
    "on Monday",
]


def sentences(n: int) -> list[tuple[str, str]]:
    """n different sentences and the target word of each; at most 33,600."""
    combined = islice(product(WHERE, WHAT, WHICH, DID, WHO), n)
    made = [
        (f"{who} {did} {which} {what} {where}.", f" {what}")
        for where, what, which, did, who in combined
    ]
    if len(made) < n:
        raise ValueError(f"only {len(made)} sentences can be made")
    return made
