# How tokens evolve in the stream: as words before each block, and which heads and MLPs move them.
#
# in:  weights of a checkpoint, its tokenizer, tokens of an experiment on whole texts
# out: results/metrics/{model}/{checkpoint}/{experiment}/{evolution,predictions,attribution,
#      attribution_sum}.parquet and .csv, and predictions.txt


rule evolution_tables:
    input:
        tokens="results/tokens/{model}/{experiment}.parquet",
        tokenizer=get_checkpoint_file("tokenizer.json"),
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
        provenance=get_checkpoint_file("provenance.json"),
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/evolution.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/evolution.csv",
        predictions="results/metrics/{model}/{checkpoint}/{experiment}/predictions.parquet",
        predictions_csv="results/metrics/{model}/{checkpoint}/{experiment}/predictions.csv",
    log:
        "results/logs/evolution/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/evolution_tables/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        **needs_of("evolution_tables"),
        passing_weights=get_passing,
    params:
        top=lambda wildcards: get_experiment(wildcards).circuits.top,
        whole_words=lambda wildcards: get_experiment(wildcards).circuits.whole_words,
        device=SETUP.extract["device"],
        code=fingerprint("evolution"),
    message:
        "Reading the stream of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment} as words"
    script:
        "../scripts/evolution.py"


# The predictions again, to be read in a terminal.
rule predictions_text:
    input:
        "results/metrics/{model}/{checkpoint}/{experiment}/predictions.parquet",
    output:
        "results/metrics/{model}/{checkpoint}/{experiment}/predictions.txt",
    log:
        "results/logs/predictions_text/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/predictions_text/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("predictions_text"),
    script:
        "../scripts/predictions_text.py"


rule attribution_tables:
    input:
        tokens="results/tokens/{model}/{experiment}.parquet",
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
        provenance=get_checkpoint_file("provenance.json"),
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/attribution.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/attribution.csv",
        sum="results/metrics/{model}/{checkpoint}/{experiment}/attribution_sum.parquet",
        sum_csv="results/metrics/{model}/{checkpoint}/{experiment}/attribution_sum.csv",
    log:
        "results/logs/attribution/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/attribution_tables/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        **needs_of("attribution_tables"),
        passing_weights=get_passing,
    params:
        device=SETUP.extract["device"],
        code=fingerprint("attribution"),
    message:
        "Attributing the change of identity in {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment}"
    script:
        "../scripts/attribution.py"
