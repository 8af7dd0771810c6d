# Weights, tokenizer and provenance of a checkpoint, in one form whatever the source; and what checkpoints are.
#
# in:  a hub, a folder, a package of the Python registry, or another model, for random weights
# out: resources/models/{model}/{checkpoint}/, and for weights that are not kept
#      resources/models/{model}/{checkpoint}/for/{experiment}/; results/metrics/{model}/all/checkpoints.*

from tokentrails.models.source import FORM


# No fingerprint of its code: weights are expensive to fetch again. FORM is raised when they are made otherwise.
rule model:
    input:
        get_source_files,
    output:
        local(multiext(f"{KEPT}/", **CHECKPOINT_FILES)),
    log:
        "<logs>/model/{model}/{checkpoint}.log",
    priority: get_turn()
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        source=get_source,
        form=FORM,
    message:
        "Fetching {wildcards.model}, checkpoint {wildcards.checkpoint}"
    script:
        "../scripts/model.py"


# The same for models with `keep_weights: false`. Each experiment has a folder of its own: when one
# is added and the weights are fetched again for it, the states of the others do not depend on that.
# Experiments that need a checkpoint at the same time share one file (scripts/model.py).
use rule model as passing_model with:
    output:
        **{
            key: (
                temp(local(f"{PASSING}/{name}"))
                if key == "weights"
                else local(f"{PASSING}/{name}")
            )
            for key, name in CHECKPOINT_FILES.items()
        },
    log:
        "<logs>/passing_model/{model}/{checkpoint}/{experiment}.log",
    priority: get_turn(fetching=True)
    # As many as the jobs that use the weights: cores that are free for this one are free for them.
    threads: get_threads
    resources:
        passing_weights=1,
    message:
        "Fetching {wildcards.model}, checkpoint {wildcards.checkpoint}, for {wildcards.experiment}"


# Whether each checkpoint is what its name says.
rule checkpoints:
    input:
        get_provenances,
    output:
        **outputs("checkpoints"),
    log:
        "<logs>/checkpoints/{model}.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        strict=model_setting("strict_checkpoints"),
        code=fingerprint("checkpoints"),
    script:
        "../scripts/checkpoints.py"
