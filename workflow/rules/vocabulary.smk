# Where tokens stand in the vocabulary, layer by layer, and what word classes have to do with it.
#
# in:  hidden states, tokens, the tokenizer, and the embedding matrix out of the weights
# out: results/metrics/{model}/{checkpoint}/{experiment}/{ranks,ranks_by_class,…}.parquet and .csv


rule ranks:
    input:
        states="results/hidden_states/{model}/{checkpoint}/{experiment}.parquet",
        tokens="results/tokens/{model}/{experiment}.parquet",
        tokenizer=get_checkpoint_file("tokenizer.json"),
        weights=get_checkpoint_file("model.safetensors"),
        config=get_checkpoint_file("config.json"),
        classes=local("resources/words/function_words.yaml"),
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/ranks.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/ranks.csv",
    log:
        "results/logs/ranks/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/ranks/{model}/{checkpoint}/{experiment}.tsv"
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: lambda wildcards: SETUP.models[wildcards.model].threads
    resources:
        **needs_of("ranks"),
        passing_weights=get_passing,
    params:
        ranks=lambda wildcards: get_experiment(wildcards).ranks.table_settings,
        groups=lambda wildcards: get_experiment(wildcards).group_columns,
        device=SETUP.extract["device"],
        code=fingerprint("ranks"),
    message:
        "Ranking the tokens of {wildcards.experiment} in the vocabulary of {wildcards.model} ({wildcards.checkpoint})"
    script:
        "../scripts/ranks.py"


rule ranks_by_class:
    input:
        "results/metrics/{model}/{checkpoint}/{experiment}/ranks.parquet",
    output:
        by_class="results/metrics/{model}/{checkpoint}/{experiment}/ranks_by_class.parquet",
        by_class_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/ranks_by_class.csv",
            caption="../report/ranks_by_class.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "ranks by class"},
        ),
        gap="results/metrics/{model}/{checkpoint}/{experiment}/ranks_gap.parquet",
        gap_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/ranks_gap.csv",
            caption="../report/ranks_gap.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "ranks gap"},
        ),
        summary="results/metrics/{model}/{checkpoint}/{experiment}/ranks_summary.parquet",
        summary_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/ranks_summary.csv",
            caption="../report/ranks_summary.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "ranks summary"},
        ),
    log:
        "results/logs/ranks_by_class/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/ranks_by_class/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=SETUP.statistics,
        code=fingerprint("ranks_by_class"),
    script:
        "../scripts/ranks_by_class.py"
