# Ranks of tokens in the vocabulary, layer by layer, and by word class.
#
# in:  hidden states, tokens, the tokenizer, and the embedding matrix out of the weights
# out: results/metrics/{model}/{checkpoint}/{experiment}/{ranks,ranks_by_class,ranks_gap,ranks_summary}.*


rule ranks:
    input:
        unpack(get_baseline),
        **checkpoint_files("tokenizer", "weights", "config"),
        states=STATES,
        tokens=TOKENS,
        classes=local(FUNCTION_WORDS),
    output:
        **outputs("ranks"),
    log:
        "<logs>/ranks/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("ranks"),
    params:
        ranks=experiment_setting("ranks", "table_settings"),
        groups=experiment_setting("group_columns"),
        device=CONFIG.extract["device"],
        code=fingerprint("ranks"),
    message:
        "Ranking the tokens of {wildcards.experiment} in the vocabulary of {wildcards.model} ({wildcards.checkpoint})"
    script:
        "../scripts/ranks.py"


rule ranks_by_class:
    input:
        table("ranks"),
    output:
        **outputs(by_class="ranks_by_class", gap="ranks_gap", summary="ranks_summary"),
    log:
        "<logs>/ranks_by_class/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("ranks_by_class"),
    script:
        "../scripts/ranks_by_class.py"
