"""The claims: table, page and numbers."""

import hashlib
from pathlib import Path

from _job import job

with job(snakemake):
    import pyarrow.parquet as pq

    from tokentrails.claims.file import load_claims
    from tokentrails.claims.findings import findings_page
    from tokentrails.claims.models import model_table
    from tokentrails.claims.numbers import numbers
    from tokentrails.claims.page import claims_page
    from tokentrails.claims.query import Queries
    from tokentrails.claims.sources import Source, paths_by_model
    from tokentrails.claims.table import Run, claims_table, forms_table, measured_claims
    from tokentrails.files.atomic import write_text
    from tokentrails.files.tables import provenance_of, write_table
    from tokentrails.statistics.settings import Statistics

    params, output = snakemake.params, snakemake.output
    statistics = Statistics.from_config(params.statistics)
    file = load_claims(snakemake.input.file, params.metrics)
    sources = {
        name: {
            model: {t: Source(*pair) for t, pair in files.items()} for model, files in by.items()
        }
        for name, by in params.sources.items()
    }
    by_model = paths_by_model(params.sources, params.draws)
    # In the order of the rule: a table is read elsewhere, if results are kept in a bucket.
    needed = sorted({path for paths in by_model.values() for path in paths})
    given = dict(zip(needed, snakemake.input.tables, strict=True))
    # Any table of a model says what the model is.
    table_of = {model: given[paths[0]] for model, paths in by_model.items() if paths}
    models = {
        name: model_table(
            name,
            about["reference"],
            about["checkpoints"],
            provenance_of(pq.read_schema(table_of[name])) if name in table_of else {},
        )
        for name, about in params.models.items()
    }
    with Queries(given) as query:
        run = Run(models, sources, query, params.replicates, params.draws)
        found = measured_claims(file.claims, run, statistics.bootstrap)
        provenance = {
            "claims_file_sha256": hashlib.sha256(
                Path(snakemake.input.file).read_bytes()
            ).hexdigest(),
            "models": ", ".join(models),
        } | statistics.provenance
        table = claims_table(found, run, statistics.bootstrap.confidence, provenance=provenance)
        forms = forms_table(found, provenance=provenance)
        quoted = numbers(table, file.numbers, run)
        run.refuse()
    write_table(table, output.table, output.csv)
    write_table(forms, output.forms, output.forms_csv)
    write_text(output.findings, findings_page(table, file, statistics.bootstrap.confidence))
    write_text(output.page, claims_page(table, forms, file, statistics.bootstrap.confidence))
    write_text(output.numbers, quoted)
