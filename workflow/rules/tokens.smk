# Token ids of an experiment's prompts, with the spans of their targets.
#
# in:  the tokenizer of a model, an experiment file
# out: results/tokens/{model}/{experiment}.parquet, and what was skipped


rule tokens:
    input:
        tokenizer=get_tokenizer,
    output:
        tokens="results/tokens/{model}/{experiment}.parquet",
        skipped="results/tokens/{model}/{experiment}.skipped.parquet",
        skipped_csv="results/tokens/{model}/{experiment}.skipped.csv",
    log:
        "results/logs/tokens/{model}/{experiment}.log",
    benchmark:
        "results/benchmarks/tokens/{model}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/tokenize.yaml"
    resources:
        passing_weights=get_passing,
    params:
        file=lambda wildcards: get_experiment(wildcards).file,
        hash=lambda wildcards: get_experiment(wildcards).hash,
        special_tokens=lambda wildcards: get_experiment(wildcards).special_tokens,
        code=fingerprint("tokenization"),
    script:
        "../scripts/tokens.py"
