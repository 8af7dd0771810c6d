# Figures of heads, of token evolution and of attribution, of one model and checkpoint.
#
# in:  tables of these analyses
# out: results/figures/{model}/{checkpoint}/{experiment}/{attention,…,attribution}.*


localrules:
    circuit_figure,


rule circuit_figure:
    input:
        unpack(get_circuit_tables),
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/{figure}.svg",
            caption="../report/circuit_figure.rst",
            category="Circuits",
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
        "results/logs/circuit_figure/{model}/{checkpoint}/{experiment}/{figure}.log",
    benchmark:
        "results/benchmarks/circuit_figure/{model}/{checkpoint}/{experiment}/{figure}.tsv"
    wildcard_constraints:
        figure="|".join(CIRCUIT_FIGURES),
    conda:
        "../../envs/figures.yaml"
    params:
        shown=get_shown,
        title=lambda wildcards: get_title(wildcards.figure)(wildcards),
        code=lambda wildcards: fingerprint(
            "circuit_figure", CIRCUIT_FIGURES[wildcards.figure].drawing
        ),
    script:
        "../scripts/circuit_figure.py"
