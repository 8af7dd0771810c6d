# The measures of the identity study, as tables.
#
# in:  hidden states, tokens, and the embedding matrix out of the weights
# out: results/metrics/{model}/{checkpoint}/{experiment}/{identity,context,summary}.parquet and .csv


rule identity:
    input:
        unpack(get_baseline),
        states="results/hidden_states/{model}/{checkpoint}/{experiment}.parquet",
        tokens="results/tokens/{model}/{experiment}.parquet",
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/identity.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/identity.csv",
    log:
        "results/logs/identity/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/identity/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/analysis.yaml"
    resources:
        passing_weights=get_passing,
    params:
        groups=lambda wildcards: get_experiment(wildcards).group_columns,
        code=fingerprint("identity"),
    script:
        "../scripts/identity.py"


rule context:
    input:
        unpack(get_baseline),
        states="results/hidden_states/{model}/{checkpoint}/{experiment}.parquet",
        tokens="results/tokens/{model}/{experiment}.parquet",
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/context.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/context.csv",
    log:
        "results/logs/context/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/context/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("context"),
    script:
        "../scripts/context.py"


rule summary:
    input:
        identity="results/metrics/{model}/{checkpoint}/{experiment}/identity.parquet",
        context=get_context,
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/summary.parquet",
        csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "summary"},
        ),
    log:
        "results/logs/summary/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/summary/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        threshold=SETUP.summary["half_life_threshold"],
        code=fingerprint("summary"),
    script:
        "../scripts/summary.py"
