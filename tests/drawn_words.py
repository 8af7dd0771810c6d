"""A list of words, and contexts for them, which every tiny tokenizer cuts in several ways."""

STEMS = "lead team transit pipe bank boat river spring water hill guide follow number approve loan"
LIST = [f"{stem}{ending}" for ending in ["", "s", "ing", "er", "ed"] for stem in STEMS.split()]
LIST += ["don't", "naïve", "café", "well-led", "Größe", "東京"]

CONTEXTS = (
    "{bos}She will lead the{space}{word}",
    '{bos}they say "{word}',  # no space in front: other tokens
    "{bos}The bank approved{space}{word}",
    "{bos}down the hill the cold{space}{word}",
    "{bos}The boat reached{space}{word}",
)
