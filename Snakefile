# How a token's representation evolves inside transformers.
#
# models -> tokens -> hidden states -> metrics -> figures -> composites -> report
#
# `snakemake --cores 8` makes everything that config/config.yaml asks for;
# `--configfile config/paper.yaml` makes the published figures instead.

from snakemake.utils import min_version

min_version("9.0")

# A file given on the command line takes the place of the default one; it is not merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/words.smk"
include: "workflow/rules/checkpoints.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/hidden_states.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/convergence.smk"
include: "workflow/rules/vocabulary.smk"
include: "workflow/rules/circuits.smk"
include: "workflow/rules/stream_circuits.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/checkpoint_figures.smk"
include: "workflow/rules/composites.smk"


report: "workflow/report/workflow.rst"


# Everything.
rule all:
    default_target: True
    input:
        get_metrics,
        get_figures,
        get_checkpoint_figures("convergence", "perturbation"),
        get_composites,


# The tables alone.
rule metrics:
    input:
        get_metrics,


# The figures and what they need.
rule figures:
    input:
        get_figures,
        get_checkpoint_figures("convergence", "perturbation"),
        get_composites,


# The figures across models, and what they need.
rule composites:
    input:
        get_composites,


# How fast words settle during training: tables and figures.
rule convergence:
    input:
        get_tables_of("convergence"),
        get_checkpoint_figures("convergence"),


# What a word's state owes to its context and to its earlier tokens: tables and figures.
rule perturbation:
    input:
        get_tables_of("perturbation"),
        get_checkpoint_figures("perturbation"),


# The weights alone, e.g. before going to a machine without a network.
rule models:
    input:
        get_models,
