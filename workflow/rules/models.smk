# Weights, tokenizer and provenance of a checkpoint, in one form whatever the source.
#
# in:  a hub, a folder, or a package of the Python registry
# out: resources/models/{model}/{checkpoint}/


localrules:
    model,


rule model:
    input:
        get_source_files,
    output:
        multiext(
            "resources/models/{model}/{checkpoint}/",
            weights="model.safetensors",
            config="config.json",
            tokenizer="tokenizer.json",
            tokenizer_config="tokenizer_config.json",
            provenance="provenance.json",
        ),
    log:
        "results/logs/model/{model}/{checkpoint}.log",
    conda:
        "../../envs/torch.yaml"
    params:
        source=lambda wildcards: asdict(SETUP.models[wildcards.model].source),
        form=FORM,
    message:
        "Fetching {wildcards.model}, checkpoint {wildcards.checkpoint}"
    script:
        "../scripts/model.py"
