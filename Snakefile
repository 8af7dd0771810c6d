# How a token's representation evolves inside transformers.
#
# models -> tokens -> hidden states -> metrics -> figures -> composites -> report
#
# `snakemake --cores 8` makes everything that config/config.yaml asks for;
# `--configfile config/paper.yaml` makes the published figures instead.

from snakemake.utils import min_version

min_version("9.27")

# A file given on the command line takes the place of the default one; it is not merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/storage.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/hidden_states.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/measures.smk"
include: "workflow/rules/vocabulary.smk"
include: "workflow/rules/circuits.smk"
include: "workflow/rules/corpora.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/documents.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/costs.smk"
include: "workflow/rules/explore.smk"


report: "workflow/report/workflow.rst"


# Everything.
rule all:
    input:
        lambda wildcards: TARGETS.tables(),
        lambda wildcards: TARGETS.figures(),
        lambda wildcards: TARGETS.documents(),
        CLAIM_TARGETS,
        PAPER_TARGETS,
        COSTS,


# The tables alone.
rule metrics:
    input:
        lambda wildcards: TARGETS.tables(),


# The figures and what they need.
rule figures:
    input:
        lambda wildcards: TARGETS.figures(),


# The figures across models, and what they need.
rule composites:
    input:
        lambda wildcards: TARGETS.composites(),


# The weights alone, e.g. before going to a machine without a network.
rule models:
    input:
        get_models,


# What belongs to one question, such as `senses` or `vocabulary`: its tables, figures and documents.
for target in TARGETS.names():

    rule:
        name:
            target
        input:
            TARGETS.tables(target),
            TARGETS.figures(target),
            TARGETS.documents(target),
