# The measures of the identity study, as tables.
#
# in:  hidden states, tokens, and the embedding matrix out of the weights
# out: results/metrics/{model}/{checkpoint}/{experiment}/{identity,context,summary}.parquet and .csv


rule identity:
    input:
        states=STATES + ".parquet",
        tokens=TOKENS + ".parquet",
        weights=MODEL + "model.safetensors",
        config=MODEL + "config.json",
    output:
        table=METRICS + "identity.parquet",
        csv=report(
            METRICS + "identity.csv",
            caption="../report/identity.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "identity"},
        ),
    log:
        LOGS + "identity/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        BENCHMARKS + "identity/{model}/{checkpoint}/{experiment}.tsv"
    params:
        groups=lambda wildcards: get_experiment(wildcards).group_columns,
        code=fingerprint("metrics.identity", "weights"),
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/identity.py"


rule context:
    input:
        states=STATES + ".parquet",
        tokens=TOKENS + ".parquet",
    output:
        table=METRICS + "context.parquet",
        csv=report(
            METRICS + "context.csv",
            caption="../report/context.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "context"},
        ),
    log:
        LOGS + "context/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        BENCHMARKS + "context/{model}/{checkpoint}/{experiment}.tsv"
    params:
        code=fingerprint("metrics.context"),
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/context.py"


rule summary:
    input:
        identity=METRICS + "identity.parquet",
        context=get_context,
    output:
        table=METRICS + "summary.parquet",
        csv=report(
            METRICS + "summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "summary"},
        ),
    log:
        LOGS + "summary/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        BENCHMARKS + "summary/{model}/{checkpoint}/{experiment}.tsv"
    params:
        threshold=SETUP.summary["half_life_threshold"],
        code=fingerprint("metrics.summary"),
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/summary.py"
