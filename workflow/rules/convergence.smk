# Measures across the checkpoints of a model, and of what a word's state owes to its context.
#
# in:  hidden states of one experiment at every checkpoint, tokens
# out: results/metrics/{model}/all/{experiment}/{convergence,convergence_by_group,alignment,
#      perturbation_by_group}.* and results/metrics/{model}/{checkpoint}/{experiment}/perturbation.*

ACROSS = "results/metrics/{model}/all/{experiment}/"
PERTURBATION = "results/metrics/{model}/{checkpoint}/{experiment}/perturbation."


rule convergence_tables:
    input:
        states=get_of_all_checkpoints(STATES),
        tokens=TOKENS,
    output:
        table=ACROSS + "convergence.parquet",
        csv=ACROSS + "convergence.csv",
        by_group=ACROSS + "convergence_by_group.parquet",
        by_group_csv=report(
            ACROSS + "convergence_by_group.csv",
            caption="../report/convergence_by_group.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "all", "table": "convergence by group"},
        ),
    log:
        "results/logs/convergence/{model}/{experiment}.log",
    benchmark:
        "results/benchmarks/convergence/{model}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        reference=lambda wildcards: SETUP.models[wildcards.model].reference,
        steps=lambda wildcards: SETUP.models[wildcards.model].steps,
        groups=get_token_counts,
        columns=lambda wildcards: get_experiment(wildcards).group_columns,
        statistics=SETUP.statistics,
        code=fingerprint("metrics.convergence"),
    message:
        "Comparing the checkpoints of {wildcards.model} on {wildcards.experiment}"
    script:
        "../scripts/convergence.py"


rule alignment_table:
    input:
        states=get_of_all_checkpoints(STATES),
        tokens=TOKENS,
    output:
        table=ACROSS + "alignment.parquet",
        csv=report(
            ACROSS + "alignment.csv",
            caption="../report/alignment_table.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "all", "table": "alignment"},
        ),
    log:
        "results/logs/alignment/{model}/{experiment}.log",
    benchmark:
        "results/benchmarks/alignment/{model}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        reference=lambda wildcards: SETUP.models[wildcards.model].reference,
        steps=lambda wildcards: SETUP.models[wildcards.model].steps,
        groups=get_token_counts,
        statistics=SETUP.statistics,
        code=fingerprint("metrics.alignment"),
    message:
        "Aligning the checkpoints of {wildcards.model} on {wildcards.experiment}"
    script:
        "../scripts/alignment.py"


rule perturbation_table:
    input:
        states=STATES,
        tokens=TOKENS,
    output:
        table=PERTURBATION + "parquet",
        csv=PERTURBATION + "csv",
    log:
        "results/logs/perturbation/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/perturbation/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("metrics.perturbation"),
    script:
        "../scripts/perturbation.py"


rule perturbation_by_group:
    input:
        get_of_all_checkpoints(PERTURBATION + "parquet"),
    output:
        table=ACROSS + "perturbation_by_group.parquet",
        csv=report(
            ACROSS + "perturbation_by_group.csv",
            caption="../report/perturbation_by_group.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "all", "table": "perturbation by group"},
        ),
    log:
        "results/logs/perturbation_by_group/{model}/{experiment}.log",
    benchmark:
        "results/benchmarks/perturbation_by_group/{model}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        steps=lambda wildcards: SETUP.models[wildcards.model].steps,
        groups=get_token_counts,
        statistics=SETUP.statistics,
        code=fingerprint("metrics.perturbation"),
    script:
        "../scripts/perturbation_by_group.py"
