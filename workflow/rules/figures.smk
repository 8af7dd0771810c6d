# Figures of one model and checkpoint.
#
# in:  metric tables
# out: results/figures/{model}/{checkpoint}/{experiment}/{identity_context,summary}.*


localrules:
    identity_context_figure,
    summary_figure,


rule identity_context_figure:
    input:
        identity=METRICS + "identity.parquet",
        context=get_context,
    output:
        report(
            FIGURES + "identity_context.svg",
            caption="../report/identity_context.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={
                "model": "{model}",
                "checkpoint": "{checkpoint}",
                "figure": "identity and context",
            },
        ),
        multiext(FIGURES + "identity_context", ".html", ".png", ".pdf", ".json"),
    log:
        LOGS + "identity_context_figure/{model}/{checkpoint}/{experiment}.log",
    params:
        title=get_title("identity_context"),
        code=fingerprint("figures.identity", "figures.save"),
    conda:
        "../../envs/figures.yaml"
    script:
        "../scripts/identity_context_figure.py"


rule summary_figure:
    input:
        METRICS + "summary.parquet",
    output:
        report(
            FIGURES + "summary.svg",
            caption="../report/summary_figure.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "summary"},
        ),
        multiext(FIGURES + "summary", ".html", ".png", ".pdf", ".json"),
    log:
        LOGS + "summary_figure/{model}/{checkpoint}/{experiment}.log",
    params:
        title=get_title("summary"),
        code=fingerprint("figures.summary", "figures.save"),
    conda:
        "../../envs/figures.yaml"
    script:
        "../scripts/summary_figure.py"
