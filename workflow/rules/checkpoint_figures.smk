# Figures across the checkpoints of one model.
#
# in:  metric tables across checkpoints, and what the checkpoints are
# out: results/figures/{model}/all/{experiment}/{convergence,…,alignment,perturbation,…}.*


localrules:
    checkpoint_figure,


rule checkpoint_figure:
    input:
        table=get_checkpoint_figure_table,
        checkpoints="results/metrics/{model}/all/checkpoints.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/all/{experiment}/{figure}.svg",
            caption="../report/checkpoint_figure.rst",
            category=get_checkpoint_figure(lambda about: about.analysis.capitalize()),
            subcategory="{experiment}",
            labels={"model": "{model}", "figure": "{figure}"},
        ),
        multiext(
            "results/figures/{model}/all/{experiment}/{figure}", ".html", ".png", ".pdf", ".json"
        ),
    log:
        "results/logs/checkpoint_figure/{model}/{experiment}/{figure}.log",
    benchmark:
        "results/benchmarks/checkpoint_figure/{model}/{experiment}/{figure}.tsv"
    wildcard_constraints:
        figure="|".join(CHECKPOINT_FIGURES),
    conda:
        "../../envs/figures.yaml"
    params:
        title=lambda wildcards: get_title(wildcards.figure)(wildcards),
        options=get_checkpoint_figure(lambda about: about.options),
        code=get_checkpoint_figure(lambda about: fingerprint("checkpoint_figure", about.drawing)),
    script:
        "../scripts/checkpoint_figure.py"
