# What a run costs, rule by rule.
#
# in:  everything that `all` makes; and, as they lie there, the benchmark files of the jobs
# out: results/costs.parquet and .csv


localrules:
    costs,


# Benchmark files are no inputs: deleting one would mean to run its job again. The table is due when
# anything else was made, and so a finished run has nothing left to do.
rule costs:
    input:
        get_everything,
    output:
        table="results/costs.parquet",
        csv=report("results/costs.csv", caption="../report/costs.rst", category="Costs"),
    log:
        "results/logs/costs.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("costs"),
    script:
        "../scripts/costs.py"
