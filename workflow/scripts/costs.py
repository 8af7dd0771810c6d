"""What each rule cost in the end."""

from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.files.tables import write_table
    from tokentrails.running.rule_costs import costs, jobs

    output = snakemake.output
    benchmarks = Path(output.table).with_name("benchmarks")
    write_table(costs(jobs(benchmarks)), output.table, output.csv)
