# Heads and neurons in words: what they look for, what they pass on, and when they fire.
#
# in:  weights of a checkpoint and its tokenizer; for heads and activations the tokens of an experiment on whole texts
# out: results/metrics/{model}/{checkpoint}/{experiment}/{attention,heads,head_summary,activations,
#      first_position_neurons}.parquet and .csv; results/metrics/{model}/{checkpoint}/weights/neurons.parquet and .csv


rule head_tables:
    input:
        tokens="results/tokens/{model}/{experiment}.parquet",
        tokenizer=get_checkpoint_file("tokenizer.json"),
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
        provenance=get_checkpoint_file("provenance.json"),
    output:
        attention="results/metrics/{model}/{checkpoint}/{experiment}/attention.parquet",
        attention_csv="results/metrics/{model}/{checkpoint}/{experiment}/attention.csv",
        heads="results/metrics/{model}/{checkpoint}/{experiment}/heads.parquet",
        heads_csv="results/metrics/{model}/{checkpoint}/{experiment}/heads.csv",
        summary="results/metrics/{model}/{checkpoint}/{experiment}/head_summary.parquet",
        summary_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/head_summary.csv",
            caption="../report/head_summary.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "head summary"},
        ),
    log:
        "results/logs/heads/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/head_tables/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        **needs_of("head_tables"),
        passing_weights=get_passing,
    params:
        circuits=lambda wildcards: get_experiment(wildcards).circuits.head_settings,
        device=SETUP.extract["device"],
        code=fingerprint("heads"),
    message:
        "Reading the heads of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment} as words"
    script:
        "../scripts/heads.py"


rule activations:
    input:
        tokens="results/tokens/{model}/{experiment}.parquet",
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
        provenance=get_checkpoint_file("provenance.json"),
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/activations.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/activations.csv",
        first="results/metrics/{model}/{checkpoint}/{experiment}/first_position_neurons.parquet",
        first_csv="results/metrics/{model}/{checkpoint}/{experiment}/first_position_neurons.csv",
    log:
        "results/logs/activations/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/activations/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        **needs_of("activations"),
        passing_weights=get_passing,
    params:
        circuits=lambda wildcards: get_experiment(wildcards).circuits.activation_settings,
        device=SETUP.extract["device"],
        code=fingerprint("activations"),
    message:
        "Watching the neurons of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment}"
    script:
        "../scripts/activations.py"


# Of the weights alone, for all experiments.
rule neuron_table:
    input:
        tokenizer=get_weights_file("tokenizer.json"),
        weights=get_weights_file("model.safetensors"),
        config=get_weights_file("config.json"),
        provenance=get_weights_file("provenance.json"),
    output:
        table="results/metrics/{model}/{checkpoint}/weights/neurons.parquet",
        csv="results/metrics/{model}/{checkpoint}/weights/neurons.csv",
    log:
        "results/logs/neurons/{model}/{checkpoint}.log",
    benchmark:
        "results/benchmarks/neuron_table/{model}/{checkpoint}.tsv"
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        **needs_of("neuron_table"),
        passing_weights=get_passing,
    params:
        listing=lambda wildcards: get_neurons_of(wildcards).circuits.list_settings,
        device=SETUP.extract["device"],
        code=fingerprint("neurons"),
    message:
        "Reading the neurons of {wildcards.model} ({wildcards.checkpoint}) as words"
    script:
        "../scripts/neurons.py"
