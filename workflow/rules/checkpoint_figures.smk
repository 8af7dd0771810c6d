# Figures across the checkpoints of one model.
#
# in:  metric tables across checkpoints, and what the checkpoints are
# out: results/figures/{model}/all/{experiment}/{convergence,…,alignment,perturbation,…}.*


from typing import NamedTuple


class CheckpointFigure(NamedTuple):
    """Which analysis a figure belongs to, its table, what draws it, and its options."""

    analysis: str
    table: str
    drawing: str
    options: dict


BAND = {"confidence": SETUP.statistics["confidence"]}
OF_GROUPS = ("convergence", "convergence_by_group", "figures.convergence", BAND)
OF_PERTURBATION = ("perturbation", "perturbation_by_group", "figures.perturbation", BAND)

CHECKPOINT_FIGURES = {
    "convergence": CheckpointFigure(*OF_GROUPS),
    "convergence_aggregate": CheckpointFigure(*OF_GROUPS),
    "convergence_slope": CheckpointFigure(*OF_GROUPS),
    "convergence_heatmap": CheckpointFigure(
        "convergence", "convergence_by_group", "figures.alignment", {}
    ),
    "alignment": CheckpointFigure("convergence", "alignment", "figures.alignment", {}),
    "perturbation": CheckpointFigure(*OF_PERTURBATION),
    "perturbation_steps": CheckpointFigure(*OF_PERTURBATION),
}


def get_checkpoint_figures(*analyses):
    """An input function: the figures across checkpoints of these analyses.

    What is drawn over training steps needs several checkpoints.
    """

    def get(wildcards):
        return [
            FIGURE.format(figure=figure, suffix=suffix, **get_run(model, "all", experiment))
            for figure, about in CHECKPOINT_FIGURES.items()
            if about.analysis in analyses
            for model, experiment in SETUP.across(about.analysis)
            if figure != "perturbation_steps" or len(model.checkpoints) > 1
            for suffix in PAPER
        ]

    return get


def get_checkpoint_figure(answer):
    """A function of wildcards: what `answer` says of their figure."""
    return lambda wildcards: answer(CHECKPOINT_FIGURES[wildcards.figure])


def get_checkpoint_figure_table(wildcards):
    """The table that a figure across checkpoints shows."""
    table = CHECKPOINT_FIGURES[wildcards.figure].table
    return METRIC_OF_ALL.format(
        metric=table, suffix="parquet", model=wildcards.model, experiment=wildcards.experiment
    )


localrules:
    checkpoint_figure,


rule checkpoint_figure:
    input:
        table=get_checkpoint_figure_table,
        checkpoints="results/metrics/{model}/all/checkpoints.parquet",
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
    wildcard_constraints:
        figure="|".join(CHECKPOINT_FIGURES),
    conda:
        "../../envs/figures.yaml"
    params:
        title=lambda wildcards: get_title(wildcards.figure)(wildcards),
        options=get_checkpoint_figure(lambda about: about.options),
        code=get_checkpoint_figure(
            lambda about: fingerprint(about.drawing, "figures.notes", "figures.save")
        ),
    script:
        "../scripts/checkpoint_figure.py"
