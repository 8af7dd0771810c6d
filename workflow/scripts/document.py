"""What the analyses of one text found, as a workbook and as a page."""

import logging

from _job import job

with job(snakemake):
    import polars as pl

    from tokentrails import __version__
    from tokentrails.documents.page import MOST_PAIRS, write_page
    from tokentrails.documents.sheets import MAIN, sheets_of
    from tokentrails.documents.workbook import MOST_ROWS, write_workbook
    from tokentrails.tables import provenance_of, read_frame, read_table

    wildcards, output = snakemake.wildcards, snakemake.output
    inputs = {name: path for name, path in snakemake.input.items() if name != "tokens"}
    tables = {name: read_frame(path) for name, path in inputs.items()}
    tokens = read_frame(snakemake.input.tokens)
    text = tokens.filter(pl.col("label") == wildcards.label)["text"][0]
    provenance = provenance_of(read_table(next(iter(inputs.values())), []))
    about = {**wildcards, "text": text, **provenance, "tokentrails": __version__}
    title = " · ".join([wildcards.label, wildcards.model, wildcards.checkpoint])
    shown = {"title": title, "first": MAIN}
    for most_pairs, write, path, more in (
        (MOST_ROWS, write_workbook, output.workbook, {}),
        (MOST_PAIRS, write_page, output.page, {"text": text}),
    ):
        sheets = sheets_of(tables, wildcards.label, most_pairs=most_pairs, about=about)
        for sheet in sheets:
            if sheet.name == MAIN and sheet.note:
                logging.info("%s: %s", path, sheet.note)
        write(sheets, path, **shown, **more)
