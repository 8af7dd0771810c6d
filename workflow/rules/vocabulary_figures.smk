# Figures of where tokens are in the vocabulary, of one model and checkpoint.
#
# in:  tables of ranks
# out: results/figures/{model}/{checkpoint}/{experiment}/{similarity_layers,…,rank_classes}.*


localrules:
    text_figure,
    rank_classes_figure,


# Of the one text that the experiment shows.
rule text_figure:
    input:
        "results/metrics/{model}/{checkpoint}/{experiment}/ranks.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/{figure}.svg",
            caption="../report/text_figure.rst",
            category="Vocabulary",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "{figure}"},
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/{figure}",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/text_figure/{model}/{checkpoint}/{experiment}/{figure}.log",
    benchmark:
        "results/benchmarks/text_figure/{model}/{checkpoint}/{experiment}/{figure}.tsv"
    wildcard_constraints:
        figure="|".join(TEXT_FIGURES),
    conda:
        "../../envs/figures.yaml"
    params:
        show=lambda wildcards: get_experiment(wildcards).ranks.show,
        title=lambda wildcards: get_title(wildcards.figure)(wildcards),
        code=lambda wildcards: fingerprint("text_figure", TEXT_FIGURES[wildcards.figure]),
    script:
        "../scripts/text_figure.py"


rule rank_classes_figure:
    input:
        by_class="results/metrics/{model}/{checkpoint}/{experiment}/ranks_by_class.parquet",
        gap="results/metrics/{model}/{checkpoint}/{experiment}/ranks_gap.parquet",
        summary="results/metrics/{model}/{checkpoint}/{experiment}/ranks_summary.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/rank_classes.svg",
            caption="../report/rank_classes.rst",
            category="Vocabulary",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "rank_classes"},
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/rank_classes",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/rank_classes_figure/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/rank_classes_figure/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("rank_classes"),
        options=BAND,
        code=fingerprint("rank_classes_figure"),
    script:
        "../scripts/rank_classes_figure.py"
