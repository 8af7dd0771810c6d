# Measures across the checkpoints of a model, and of what a word's state owes to its context.
#
# in:  hidden states of one experiment at every checkpoint, tokens
# out: results/metrics/{model}/all/{experiment}/{convergence,convergence_by_group,alignment,
#      perturbation_by_group}.* and results/metrics/{model}/{checkpoint}/{experiment}/perturbation.*


rule convergence_tables:
    input:
        states=get_of_all_checkpoints(STATES),
        tokens=TOKENS,
    output:
        table="results/metrics/{model}/all/{experiment}/convergence.parquet",
        csv="results/metrics/{model}/all/{experiment}/convergence.csv",
        by_group="results/metrics/{model}/all/{experiment}/convergence_by_group.parquet",
        by_group_csv=report(
            "results/metrics/{model}/all/{experiment}/convergence_by_group.csv",
            caption="../report/convergence_by_group.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "all", "table": "convergence by group"},
        ),
    log:
        "results/logs/convergence/{model}/{experiment}.log",
    benchmark:
        "results/benchmarks/convergence_tables/{model}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        reference=lambda wildcards: SETUP.models[wildcards.model].reference,
        steps=lambda wildcards: SETUP.models[wildcards.model].steps,
        groups=get_token_counts,
        columns=get_own_columns,
        statistics=SETUP.statistics,
        code=fingerprint("convergence"),
    message:
        "Comparing the checkpoints of {wildcards.model} on {wildcards.experiment}"
    script:
        "../scripts/convergence.py"


rule alignment_table:
    input:
        states=get_of_all_checkpoints(STATES),
        tokens=TOKENS,
    output:
        table="results/metrics/{model}/all/{experiment}/alignment.parquet",
        csv=report(
            "results/metrics/{model}/all/{experiment}/alignment.csv",
            caption="../report/alignment_table.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "all", "table": "alignment"},
        ),
    log:
        "results/logs/alignment/{model}/{experiment}.log",
    benchmark:
        "results/benchmarks/alignment_table/{model}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        reference=lambda wildcards: SETUP.models[wildcards.model].reference,
        steps=lambda wildcards: SETUP.models[wildcards.model].steps,
        groups=get_token_counts,
        statistics=SETUP.statistics,
        code=fingerprint("alignment"),
    message:
        "Aligning the checkpoints of {wildcards.model} on {wildcards.experiment}"
    script:
        "../scripts/alignment.py"


rule perturbation_table:
    input:
        unpack(get_baseline),
        states=STATES,
        tokens=TOKENS,
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/perturbation.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/perturbation.csv",
    log:
        "results/logs/perturbation/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/perturbation_table/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("perturbation"),
    script:
        "../scripts/perturbation.py"


rule perturbation_by_group:
    input:
        get_of_all_checkpoints(
            "results/metrics/{model}/{checkpoint}/{experiment}/perturbation.parquet"
        ),
    output:
        table="results/metrics/{model}/all/{experiment}/perturbation_by_group.parquet",
        csv=report(
            "results/metrics/{model}/all/{experiment}/perturbation_by_group.csv",
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
        code=fingerprint("perturbation_by_group"),
    script:
        "../scripts/perturbation_by_group.py"
