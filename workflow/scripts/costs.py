"""What each rule cost in the end."""

from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.files.tables import write_table
    from tokentrails.running.rule_costs import costs, jobs

    output = snakemake.output
    logs = Path(output.table).with_name("logs")
    write_table(costs(jobs(logs)), output.table, output.csv)
