# Token ids of an experiment's prompts, with the spans of their targets.
#
# in:  the tokenizer of a model, an experiment file
# out: results/tokens/{model}/{experiment}.parquet, and what was skipped


rule tokens:
    input:
        tokenizer=get_tokenizer,
    output:
        tokens=TOKENS + ".parquet",
        skipped=TOKENS + ".skipped.parquet",
        skipped_csv=TOKENS + ".skipped.csv",
    log:
        LOGS + "tokens/{model}/{experiment}.log",
    benchmark:
        BENCHMARKS + "tokens/{model}/{experiment}.tsv"
    params:
        file=lambda wildcards: get_experiment(wildcards).file,
        hash=lambda wildcards: get_experiment(wildcards).hash,
        special_tokens=lambda wildcards: get_experiment(wildcards).special_tokens,
        code=fingerprint("tokenization"),
    conda:
        "../../envs/tokenize.yaml"
    script:
        "../scripts/tokens.py"
