"""The forms that a similarity is given in."""

FORMS = ("cosine", "adjusted", "scaled", "matched", "centred", "standardised")
"""The columns that every table of similarities has; `files.meanings` says what they are."""

SOUND = tuple(form for form in FORMS if form != "adjusted")
"""Those to compare where chance differs, as between layers, models or checkpoints.

Where chance is 0.9, `adjusted` is at most 0.1, however alike two states are.
"""

MATCHED = "matched"
"""The form that not every experiment has pairs enough for."""

RESAMPLED = ("cosine", "matched", "centred", "standardised")
"""The others are, at one place, the cosine but for a shift and a factor; so are means over them."""

UNITS = dict.fromkeys(FORMS, "cosine, -1 to 1") | dict.fromkeys(
    ("adjusted", "scaled", "matched"), "cosine"
)
