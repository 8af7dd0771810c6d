"""The folder of published figures and tables."""

import shutil

from _job import job

with job(snakemake):
    from tokentrails.documents.paper import index_csv, index_page, items
    from tokentrails.files.atomic import replacing, write_text

    found = items(snakemake.params.entries, snakemake.params.formats)
    files = [pair for item in found for pair in item.files]
    # In the order of the rule: where a file is read and written is elsewhere, if kept in a bucket.
    given = dict(zip(sorted({source for source, _ in files}), snakemake.input, strict=True))
    for (source, _), target in zip(files, snakemake.output, strict=False):  # the index comes last
        with replacing(target) as part:
            shutil.copyfile(given[source], part)
    write_text(snakemake.output.table, index_csv(found))
    write_text(snakemake.output.page, index_page(found))
