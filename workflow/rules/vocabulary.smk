# Ranks of tokens in the vocabulary, layer by layer, and by word class; what the stream says of each token and of the next
# one; groups of words that are matched on frequency; words cut up; and whether tokens can be decoded from states.
#
# in:  tokens, the tokenizer, weights, and lenses; of ranks and decoding hidden states, and of the weights the embedding matrix;
#      of groups tables and a list of words; of a lens that is fitted here a running text
# out: results/metrics/{model}/{checkpoint}/weights/lens.*;
#      results/metrics/{model}/{checkpoint}/{experiment}/{ranks,ranks_by_class,ranks_gap,ranks_summary,own_token,
#      own_token_by_layer,matched_groups,splits,splits_by_layer,decodability,decodability_half_lives}.*


rule ranks:
    input:
        unpack(get_baseline),
        **checkpoint_files("tokenizer", "weights", "config"),
        states=STATES,
        tokens=TOKENS,
        classes=get_function_words,
    output:
        **outputs("ranks"),
    log:
        "<logs>/ranks/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("ranks", gpus=min(GPUS, 1)),
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


rule own_token_table:
    input:
        **checkpoint_files("tokenizer", "weights", "config", "provenance"),
        tokens=TOKENS,
        classes=get_function_words,
        lenses=get_lens_files,
        lens_facts=get_lens_facts,
    output:
        **outputs("own_token"),
    log:
        "<logs>/own_token_table/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("own_token_table"),
    params:
        **DEVICES,
        lenses=lambda wildcards: [(lens.name, lens.kind) for lens in get_lenses(wildcards)],
        code=fingerprint("own_token"),
    message:
        "Reading each token and the next one from the stream of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment}"
    script:
        "../scripts/own_token.py"


# Maps of the stream that make the head say at each layer what it says in the end.
rule lens:
    input:
        **checkpoint_files("tokenizer", "weights", "config", "provenance", user=get_user),
        text=lambda wildcards: get_text(get_lens_texts(wildcards).corpus.text),
    output:
        **outputs("lens"),
        maps=table("lens", "safetensors"),
    log:
        "<logs>/lens/{model}/{checkpoint}.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("lens"),
    params:
        **DEVICES,
        file=lambda wildcards: get_lens_texts(wildcards).file,
        hash=lambda wildcards: get_lens_texts(wildcards).hash,
        seed=CONFIG.statistics["seed"],
        code=fingerprint("lens"),
    message:
        "Fitting a lens of {wildcards.model} ({wildcards.checkpoint})"
    script:
        "../scripts/lens.py"


rule own_token_by_layer:
    input:
        own_token=table("own_token"),
        tokens=TOKENS,
    output:
        **outputs("own_token_by_layer"),
    log:
        "<logs>/own_token_by_layer/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("own_token_by_layer"),
    script:
        "../scripts/own_token_by_layer.py"


# Groups of words in all of these, and in identity, at the same frequency and position.
rule matched_groups_table:
    input:
        unpack(get_compared),
        tokens=TOKENS,
        words=get_frequency_list,
        classes=get_function_words,
    output:
        **outputs("matched_groups"),
    log:
        "<logs>/matched_groups_table/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("matched_groups"),
    script:
        "../scripts/matched_groups.py"


# Words cut up: how near their last tokens are to the whole word, its state and its row of the vocabulary.
rule splits_table:
    input:
        unpack(get_baseline),
        **checkpoint_files("tokenizer", "weights", "config"),
        states=STATES,
        tokens=TOKENS,
        classes=get_function_words,
    output:
        **outputs("splits", by_layer="splits_by_layer"),
    log:
        "<logs>/splits_table/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("splits_table", gpus=min(GPUS, 1)),
    params:
        device=CONFIG.extract["device"],
        statistics=CONFIG.statistics,
        code=fingerprint("splits"),
    message:
        "Comparing the words cut up of {wildcards.experiment} with the whole ones in {wildcards.model} ({wildcards.checkpoint})"
    script:
        "../scripts/splits.py"


# What can still be read from the states of a running text: tokens, by maps that are fitted to others.
rule decodability_tables:
    input:
        **checkpoint_files("tokenizer", "weights", "config"),
        states=STATES,
        tokens=TOKENS,
    output:
        **outputs("decodability", half_lives="decodability_half_lives", types="decodability_types"),
    log:
        "<logs>/decodability_tables/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("decodability_tables", gpus=min(GPUS, 1)),
    params:
        device=CONFIG.extract["device"],
        statistics=CONFIG.statistics,
        code=fingerprint("decodability"),
    message:
        "Decoding the tokens of {wildcards.experiment} from the states of {wildcards.model} ({wildcards.checkpoint})"
    script:
        "../scripts/decodability.py"
