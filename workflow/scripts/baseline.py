"""The tables of random pairs."""

import json
from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.baseline import Sample, baseline, baseline_dimensions, chances
    from tokentrails.network.checkpoint import Checkpoint
    from tokentrails.statistics.bootstrap import Bootstrap

    output = snakemake.output
    section = snakemake.params.bootstrap
    states = StatesReader(snakemake.input.states)
    sample = Sample.from_tokens(read_table(snakemake.input.tokens), snakemake.params.file)
    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    embedding = checkpoint.embedding_rows(sample.token_ids)
    found = list(chances(states, sample, embedding, Bootstrap.from_config(section)))
    provenance = provenance_of(states.metadata) | {"statistics": json.dumps(section)}
    write_table(baseline(found, sample, provenance=provenance), output.table, output.csv)
    dimensions = baseline_dimensions(found, embedding, provenance=provenance)
    write_table(dimensions, output.dimensions, output.dimensions_csv)
