# What a run will take, before it starts; and what it cost, rule by rule.
#
# in:  the configuration, and what is there already; everything that `all` makes, and the logs of the jobs
# out: a few lines on the terminal; results/costs.parquet and .csv


# Nothing is fetched and nothing made.
rule plan:
    log:
        "<logs>/plan.log",
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        config=lambda wildcards: config,
        # All of it, and of the Snakefile that uses this one: Snakemake is asked what it would do with it.
        main_config=lambda wildcards: workflow.config,
        snakefile=str(workflow.main_snakefile),
        rules=get_rules,
    script:
        "../scripts/plan.py"


# Logs are no inputs: deleting one would mean to run its job again. The table is due when
# anything else was made, and so a finished run has nothing left to do.
rule costs:
    input:
        get_everything,
    output:
        table="results/costs.parquet",
        csv=reported(
            "results/costs.csv", "costs.rst", category=Category.COSTS, labels={"what": "table"}
        ),
    log:
        "<logs>/costs.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("costs"),
    script:
        "../scripts/costs.py"
