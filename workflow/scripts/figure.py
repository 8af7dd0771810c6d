"""Any figure of the catalogue."""

from _job import job

with job(snakemake):
    from importlib import import_module

    from altair.utils.schemapi import debug_mode

    from tokentrails.figures.pieces.save import save
    from tokentrails.files.tables import read_frames

    given, params = snakemake.input, snakemake.params
    draw = getattr(import_module(f"tokentrails.{params.module}"), params.function)
    frames = [read_frames(given.get(name)) for name in params.inputs]
    with debug_mode(False):  # Altair checks what this project wrote, at every step: for tests
        chart = draw(*frames, title=params.title, **params.options)
        save(chart, snakemake.output, given.page_script)
