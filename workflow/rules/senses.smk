# How well the senses of words are told apart, layer by layer: tables and figures.
#
# in:  hidden states, tokens, and the baseline if there is one
# out: results/metrics/{model}/{checkpoint}/{experiment}/{senses,senses_by_layer,senses_best}.parquet and .csv,
#      results/figures/{model}/{checkpoint}/{experiment}/{senses_by_layer,senses_words}.*


localrules:
    senses_by_layer_figure,
    senses_words_figure,


rule senses_tables:
    input:
        unpack(get_baseline),
        states="results/hidden_states/{model}/{checkpoint}/{experiment}.parquet",
        tokens="results/tokens/{model}/{experiment}.parquet",
    output:
        senses="results/metrics/{model}/{checkpoint}/{experiment}/senses.parquet",
        senses_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/senses.csv",
            caption="../report/senses.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "senses"},
        ),
        by_layer="results/metrics/{model}/{checkpoint}/{experiment}/senses_by_layer.parquet",
        by_layer_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/senses_by_layer.csv",
            caption="../report/senses_by_layer.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "senses by layer"},
        ),
        best="results/metrics/{model}/{checkpoint}/{experiment}/senses_best.parquet",
        best_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/senses_best.csv",
            caption="../report/senses_best.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={
                "model": "{model}",
                "checkpoint": "{checkpoint}",
                "table": "senses, best layers",
            },
        ),
    log:
        "results/logs/senses_tables/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/senses_tables/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    params:
        statistics=SETUP.statistics,
        code=fingerprint("senses"),
    message:
        "Telling the senses of {wildcards.experiment} apart in {wildcards.model} ({wildcards.checkpoint})"
    script:
        "../scripts/senses.py"


rule senses_by_layer_figure:
    input:
        by_layer="results/metrics/{model}/{checkpoint}/{experiment}/senses_by_layer.parquet",
        best="results/metrics/{model}/{checkpoint}/{experiment}/senses_best.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/senses_by_layer.svg",
            caption="../report/senses_by_layer_figure.rst",
            category="Senses",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "senses_by_layer"},
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/senses_by_layer",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/senses_by_layer_figure/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/senses_by_layer_figure/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("senses_by_layer"),
        options=BAND,
        code=fingerprint("senses_by_layer_figure"),
    script:
        "../scripts/senses_by_layer_figure.py"


rule senses_words_figure:
    input:
        "results/metrics/{model}/{checkpoint}/{experiment}/senses.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/senses_words.svg",
            caption="../report/senses_words.rst",
            category="Senses",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "senses_words"},
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/senses_words",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/senses_words_figure/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/senses_words_figure/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("senses_words"),
        code=fingerprint("senses_words_figure"),
    script:
        "../scripts/senses_words_figure.py"
