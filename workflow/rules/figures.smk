# Figures of one model and checkpoint; and what all pages with figures share.
#
# in:  metric tables
# out: results/figures/{model}/{checkpoint}/{experiment}/{identity_context,summary}.*; resources/figures/page.js


localrules:
    page_script,
    identity_context_figure,
    summary_figure,


# Once for all figures: this takes longer than to draw one.
rule page_script:
    output:
        PAGE_SCRIPT,
    log:
        "results/logs/page_script.log",
    benchmark:
        "results/benchmarks/page_script.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        code=fingerprint("page_script"),
    script:
        "../scripts/page_script.py"


rule identity_context_figure:
    input:
        identity="results/metrics/{model}/{checkpoint}/{experiment}/identity.parquet",
        context=get_context,
        curves="results/metrics/{model}/{checkpoint}/{experiment}/curves.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/identity_context.svg",
            caption="../report/identity_context.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={
                "model": "{model}",
                "checkpoint": "{checkpoint}",
                "figure": "identity and context",
            },
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/identity_context",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/identity_context_figure/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/identity_context_figure/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("identity_context"),
        options=BAND,
        code=fingerprint("identity_context_figure"),
    script:
        "../scripts/identity_context_figure.py"


rule summary_figure:
    input:
        "results/metrics/{model}/{checkpoint}/{experiment}/summary.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/summary.svg",
            caption="../report/summary_figure.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "summary"},
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/summary",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/summary_figure/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/summary_figure/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("summary"),
        code=fingerprint("summary_figure"),
    script:
        "../scripts/summary_figure.py"
