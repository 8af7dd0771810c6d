"""The tables of a running text whose states are not stored, from the sums of its parts."""

from _job import job

with job(snakemake):
    from tokentrails.files.atomic import remove_other_parts
    from tokentrails.files.tables import read_provenance, read_table, write_table
    from tokentrails.metrics.corpus import (
        corpus_by_layer,
        corpus_geometry,
        corpus_types,
        refuse_mixed,
    )
    from tokentrails.statistics.baseline import NO_BASELINE, Baseline
    from tokentrails.statistics.settings import Statistics

    given, output = snakemake.input, snakemake.output
    statistics = Statistics.from_config(snakemake.params.statistics)
    lengths = read_table(given.tokens, ["n_tokens"])["n_tokens"].to_numpy()
    refuse_mixed(given.pieces, given.types, given.products, int((lengths - 1).sum()))
    provenance, baseline = read_provenance(given.pieces[0]), NO_BASELINE
    if path := given.get("baseline"):
        baseline = Baseline.from_tables(read_table(path), read_table(given.baseline_dimensions))
        provenance["baseline_hash"] = read_provenance(path)["experiment_hash"]
    table = corpus_by_layer(
        given.pieces, baseline=baseline, statistics=statistics, provenance=provenance
    )
    write_table(table, output.table, output.csv)
    table = corpus_geometry(given.products, provenance=provenance)
    write_table(table, output.geometry, output.geometry_csv)
    table = corpus_types(given.types, statistics.few, provenance=provenance)
    write_table(table, output.types, output.types_csv)
    remove_other_parts([*given.pieces, *given.types, *given.products])
