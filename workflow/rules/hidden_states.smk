# Hidden states of the targets, at every layer: the GPU rule.
#
# in:  weights of a checkpoint, tokens of an experiment
# out: results/hidden_states/{model}/{checkpoint}/{experiment}.parquet


rule hidden_states:
    input:
        tokens=TOKENS + ".parquet",
        weights=MODEL + "model.safetensors",
        config=MODEL + "config.json",
        provenance=MODEL + "provenance.json",
    output:
        ensure(STATES + ".parquet", non_empty=True),
    log:
        LOGS + "hidden_states/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        BENCHMARKS + "hidden_states/{model}/{checkpoint}/{experiment}.tsv"
    threads: 8
    params:
        sites=lambda wildcards: get_experiment(wildcards).sites,
        pooling=lambda wildcards: get_experiment(wildcards).pooling,
        extract=SETUP.extract,
        code=fingerprint("extract"),
    conda:
        "../../envs/torch.yaml"
    message:
        "Running {wildcards.model} ({wildcards.checkpoint}) on the texts of {wildcards.experiment}"
    script:
        "../scripts/hidden_states.py"
