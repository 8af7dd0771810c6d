"""The folder of published figures and tables."""

import shutil

from _job import job

with job(snakemake):
    from tokentrails.atomic import replacing
    from tokentrails.paper import index_csv, index_page, items

    found = items(snakemake.params.entries)
    for item in found:
        for source, target in item.files:
            with replacing(target) as part:
                shutil.copyfile(source, part)
    for text, path in (
        (index_csv(found), snakemake.output.table),
        (index_page(found), snakemake.output.page),
    ):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
