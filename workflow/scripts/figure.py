"""Any figure of the catalogue."""

from _job import job

with job(snakemake):
    from importlib import import_module

    from altair.utils.schemapi import debug_mode

    from tokentrails.figures.pieces.notes import (
        altered_notes,
        derived_notes,
        pooling_notes,
        uncontrolled_notes,
    )
    from tokentrails.figures.pieces.save import save
    from tokentrails.figures.pieces.theme import annotated
    from tokentrails.files.tables import read_frames, read_provenance

    given, params = snakemake.input, snakemake.params
    draw = getattr(import_module(f"tokentrails.{params.module}"), params.function)
    frames = [read_frames(given.get(name)) for name in params.inputs]
    paths = [path for name in params.inputs for path in given.get(name)]
    provenances = list(map(read_provenance, paths))
    altered = altered_notes(provenances)
    notes = altered + pooling_notes(provenances) + derived_notes(provenances)
    drawn = next((frame for frame in frames if frame is not None), None)
    last = [] if altered else uncontrolled_notes(provenances, drawn)
    options = dict(params.options)
    if options.get("show", "") is None:  # the labels of a table are not known before it is read
        labels = (frame["label"].min() for frame in frames if "label" in frame.columns)
        options["show"] = next(labels, "")
    with debug_mode(False):  # Altair checks what this project wrote, at every step: for tests
        chart = draw(*frames, title=params.title, **options)
        if notes or last:
            chart = annotated(chart, notes, last)
        save(chart, snakemake.output, given.page_script)
