# Hidden states of the targets, at every layer: the GPU rule.
#
# in:  weights of a checkpoint, tokens of an experiment
# out: results/hidden_states/{model}/{checkpoint}/{experiment}.parquet


rule hidden_states:
    input:
        tokens="results/tokens/{model}/{experiment}.parquet",
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
        provenance=get_checkpoint_file("provenance.json"),
    output:
        # Without ensure(non_empty=True), which asks an object storage for the file before it is there.
        "results/hidden_states/{model}/{checkpoint}/{experiment}.parquet",
    log:
        "results/logs/hidden_states/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/hidden_states/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        **needs_of("hidden_states"),
        passing_weights=get_passing,
    params:
        sites=lambda wildcards: get_experiment(wildcards).sites,
        pooling=lambda wildcards: get_experiment(wildcards).pooling,
        extract=SETUP.extract,
        code=fingerprint("hidden_states"),
    message:
        "Running {wildcards.model} ({wildcards.checkpoint}) on the texts of {wildcards.experiment}"
    script:
        "../scripts/hidden_states.py"
