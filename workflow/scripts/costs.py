"""What each rule cost in the end."""

from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.rule_costs import costs, jobs
    from tokentrails.tables import write_table

    output = snakemake.output
    benchmarks = Path(output.table).with_name("benchmarks")
    write_table(costs(jobs(benchmarks)), output.table, output.csv)
