"""The states of an experiment out of those of its parts."""

from _job import job

with job(snakemake):
    from tokentrails.files.atomic import remove_other_parts
    from tokentrails.files.state_parts import join_parts
    from tokentrails.files.tables import read_table

    tokens = read_table(snakemake.input.tokens, ["occurrence"])
    join_parts(snakemake.input.parts, tokens["occurrence"].to_numpy(), snakemake.output[0])
    remove_other_parts(snakemake.input.parts)
