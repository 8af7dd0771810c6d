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
include: "workflow/rules/storage.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/words.smk"
include: "workflow/rules/checkpoints.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/hidden_states.smk"
include: "workflow/rules/baseline.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/senses.smk"
include: "workflow/rules/convergence.smk"
include: "workflow/rules/vocabulary.smk"
include: "workflow/rules/circuits.smk"
include: "workflow/rules/stream_circuits.smk"
include: "workflow/rules/half_lives.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/checkpoint_figures.smk"
include: "workflow/rules/vocabulary_figures.smk"
include: "workflow/rules/circuit_figures.smk"
include: "workflow/rules/composites.smk"
include: "workflow/rules/documents.smk"
include: "workflow/rules/claims_common.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/costs.smk"


report: "workflow/report/workflow.rst"


# Everything.
rule all:
    default_target: True
    input:
        get_metrics,
        get_figures,
        get_sense_figures,
        get_checkpoint_figures("convergence", "perturbation"),
        get_vocabulary_figures,
        get_circuit_figures(*READ),
        get_composites(*COMPOSITES),
        get_scaling_figure,
        get_documents(*READ),
        get_claims,
        get_paper,
        COSTS,


# The tables alone.
rule metrics:
    input:
        get_metrics,


# The figures and what they need.
rule figures:
    input:
        get_figures,
        get_sense_figures,
        get_checkpoint_figures("convergence", "perturbation"),
        get_vocabulary_figures,
        get_circuit_figures(*READ),
        get_composites(*COMPOSITES),
        get_scaling_figure,


# The figures across models, and what they need.
rule composites:
    input:
        get_composites(*COMPOSITES),
        get_scaling_figure,


# How well the senses of words are told apart: tables and figures.
rule senses:
    input:
        get_tables_of("senses"),
        get_sense_figures,
        get_composites("separability"),


# How fast words settle during training: tables and figures.
rule convergence:
    input:
        get_tables_of("convergence"),
        get_checkpoint_figures("convergence"),


# When tokens lose their identity, and what changes with the size of models: tables and figures.
rule half_life:
    input:
        get_tables_of("identity"),
        get_half_life_figures,
        get_composites("half_lives"),
        get_scaling_tables,
        get_scaling_figure,


# What a word's state owes to its context and to its earlier tokens: tables and figures.
rule perturbation:
    input:
        get_tables_of("perturbation"),
        get_checkpoint_figures("perturbation"),


# Where tokens stand in the vocabulary, layer by layer: tables and figures.
rule vocabulary:
    input:
        get_tables_of("ranks"),
        get_vocabulary_figures,
        get_composites("ranks"),


# What heads look for and pass on, in words: tables, figures, workbooks and pages.
rule heads:
    input:
        get_tables_of("heads"),
        get_circuit_figures("heads"),
        get_documents("heads"),


# What neurons look for and write, and which ones fire, in words.
rule neurons:
    input:
        get_tables_of("neurons"),
        get_neuron_tables,
        get_documents("neurons"),


# What the stream says before each block, and what is predicted.
rule evolution:
    input:
        get_tables_of("evolution"),
        get_predictions,
        get_circuit_figures("evolution"),
        get_documents("evolution"),


# Which heads and MLPs take a token away from itself.
rule attribution:
    input:
        get_tables_of("attribution"),
        get_circuit_figures("attribution"),
        get_documents("attribution"),


# The weights alone, e.g. before going to a machine without a network.
rule models:
    input:
        get_models,
