# Token ids of an experiment's texts, with the spans of their targets.
#
# in:  the tokenizer of a model, an experiment file, and the list that its words are drawn from
# out: results/tokens/{model}/{experiment}.parquet, and what was skipped


rule tokens:
    input:
        tokenizer=get_tokenizer,
        words=get_word_list,
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
        entry=lambda wildcards: get_experiment(wildcards).token_settings,
        hash=lambda wildcards: get_experiment(wildcards).hash,
        code=fingerprint("tokens"),
    script:
        "../scripts/tokens.py"
