"""What the analyses of one text found, as a workbook and as a page."""

from _job import job

with job(snakemake):
    import polars as pl

    from tokentrails import __version__
    from tokentrails.documents.page import MOST_PAIRS, write_page
    from tokentrails.documents.sheets import MAIN, text_sheets
    from tokentrails.documents.workbook import MOST_ROWS, write_workbook
    from tokentrails.files.tables import provenance_of, read_frame, read_table

    wildcards, output = snakemake.wildcards, snakemake.output
    label = wildcards.label
    paths = {name: path for name, path in snakemake.input.items() if name != "tokens"}
    tables = {name: read_frame(path) for name, path in paths.items()}
    tokens = read_frame(snakemake.input.tokens).filter(pl.col("label") == label)
    if len(tokens):
        text = tokens["text"][0]
    else:
        reasons = f"results/tokens/{wildcards.model}/{wildcards.experiment}.skipped.csv"
        tables, text = {}, f"The text is left out, for the reason in {reasons}."
    provenance = provenance_of(read_table(next(iter(paths.values())), []))
    about = {**wildcards, "text": text, **provenance, "tokentrails": __version__}
    title = " · ".join([label, wildcards.model, wildcards.checkpoint])

    book, page = text_sheets(tables, label, limits=(MOST_ROWS, MOST_PAIRS), about=about)
    write_workbook(book, output.workbook, title=title, first=MAIN)
    write_page(page, output.page, title=title, text=text, first=MAIN)
