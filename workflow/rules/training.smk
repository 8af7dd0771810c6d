# Models that the workflow trains itself, with checkpoints from their first step to their last.
#
# in:  a text out of a package of the Python registry
# out: resources/training/{model}/: every checkpoint of the schedule, and the loss at every step

TRAINING_TEXT = {
    "training": "resources/texts/plays/training.txt",
    "held_out": HELD_OUT_PLAYS,
    "provenance": "resources/texts/plays/provenance.json",
}


rule training_text:
    output:
        **{name: ensure(local(path), non_empty=True) for name, path in TRAINING_TEXT.items()},
    log:
        "<logs>/training_text.log",
    priority: LIGHT
    localrule: True
    conda:
        "../../envs/torch.yaml"
    params:
        code=fingerprint("training_text"),
    script:
        "../scripts/training_text.py"


# One run makes all checkpoints, so that asking for another one never trains again.
rule training:
    input:
        **{name: local(path) for name, path in TRAINING_TEXT.items()},
    output:
        checkpoints=directory(local(TRAINED)),
        loss=table("loss"),
        csv=table("loss", "csv"),
    log:
        "<logs>/training/{model}.log",
    priority: LIGHT
    conda:
        "../../envs/torch.yaml"
    # With more it would be little faster, wait for them where other jobs run, and give other bytes.
    threads: 1
    params:
        training=get_training,
        code=fingerprint("training"),
    message:
        "Training {wildcards.model}"
    script:
        "../scripts/training.py"
