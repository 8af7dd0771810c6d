# How alike random pairs are: what every similarity is compared with.
#
# in:  hidden states of the texts of the baseline, tokens, and the embedding matrix out of the weights
# out: results/metrics/{model}/{checkpoint}/baseline/{baseline,baseline_dimensions}.parquet and .csv
#      results/figures/{model}/{checkpoint}/baseline/baseline.*


localrules:
    baseline_figure,


rule baseline:
    input:
        states=STATES,
        tokens=TOKENS,
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/baseline.parquet",
        csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/baseline.csv",
            caption="../report/baseline.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "baseline"},
        ),
        dimensions="results/metrics/{model}/{checkpoint}/{experiment}/baseline_dimensions.parquet",
        dimensions_csv="results/metrics/{model}/{checkpoint}/{experiment}/baseline_dimensions.csv",
    log:
        "results/logs/baseline/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/baseline/{model}/{checkpoint}/{experiment}.tsv"
    wildcard_constraints:
        experiment=BASELINE,
    priority: get_turn()
    conda:
        "../../envs/analysis.yaml"
    resources:
        passing_weights=get_passing,
    params:
        file=lambda wildcards: get_experiment(wildcards).file,
        statistics=SETUP.statistics,
        code=fingerprint("baseline"),
    script:
        "../scripts/baseline.py"


rule baseline_figure:
    input:
        baseline="results/metrics/{model}/{checkpoint}/{experiment}/baseline.parquet",
        dimensions="results/metrics/{model}/{checkpoint}/{experiment}/baseline_dimensions.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/baseline.svg",
            caption="../report/baseline_figure.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "baseline"},
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/baseline",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/baseline_figure/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/baseline_figure/{model}/{checkpoint}/{experiment}.tsv"
    wildcard_constraints:
        experiment=BASELINE,
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("baseline"),
        options=BAND,
        code=fingerprint("baseline_figure"),
    script:
        "../scripts/baseline_figure.py"
