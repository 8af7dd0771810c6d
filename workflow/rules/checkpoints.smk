# What the checkpoints of a model are, and whether each is what its name says.
#
# in:  provenance of every checkpoint of a model
# out: results/metrics/{model}/all/checkpoints.parquet and .csv


localrules:
    checkpoints,


rule checkpoints:
    input:
        get_provenances,
    output:
        table="results/metrics/{model}/all/checkpoints.parquet",
        csv=report(
            "results/metrics/{model}/all/checkpoints.csv",
            caption="../report/checkpoints.rst",
            category="Checkpoints",
            labels={"model": "{model}", "table": "checkpoints"},
        ),
    log:
        "results/logs/checkpoints/{model}.log",
    benchmark:
        "results/benchmarks/checkpoints/{model}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        strict=lambda wildcards: SETUP.models[wildcards.model].strict_checkpoints,
        code=fingerprint("checkpoints"),
    script:
        "../scripts/checkpoints.py"
