# Token ids of an experiment's texts, with the spans of their targets; and the list that words are sampled from.
#
# in:  the tokenizer of a model, an experiment file, its table, and a list of words; the package wordfreq; a hub
# out: results/tokens/{model}/{experiment}.parquet, and what was skipped; results/texts/{experiment}.parquet, of tables;
#      resources/words/wordfreq*.txt; resources/texts/hub/, of tables and running texts in data sets


# One word a line, the most frequent first; a file for each language.
rule word_list:
    output:
        ensure(local(WORD_LIST), non_empty=True),
    log:
        "<logs>/word_list/wordfreq{code}.log",
    wildcard_constraints:
        code=r"(\.[a-z]+)?",
    localrule: True
    conda:
        "../../envs/tokenize.yaml"
    params:
        n=100_000,
        language=lambda wildcards: wildcards.code.removeprefix(".") or ENGLISH,
        code=fingerprint("word_list"),
    script:
        "../scripts/word_list.py"


# A file of a data set: OWNER/NAME@REVISION/FILE. No fingerprint of its code, as for weights: it is fetched once.
rule hub_table:
    output:
        file=local(f"{HUB_FOLDER}/{{hub}}"),
        provenance=local(DATA_PROVENANCE.format(f"{HUB_FOLDER}/{{hub}}")),
    log:
        "<logs>/hub_table/{hub}.log",
    wildcard_constraints:
        hub=r"[^/@]+/[^/@]+@[^/]+/.+(?<!\.provenance\.json)",
    localrule: True
    conda:
        "../../envs/tokenize.yaml"
    message:
        "Fetching {wildcards.hub}"
    script:
        "../scripts/hub_table.py"


# The rows of a table as prompts, whatever the model.
rule texts:
    input:
        lambda wildcards: local(local_path(get_experiment(wildcards).table.file)),
    output:
        texts=TEXTS,
        skipped="results/texts/{experiment}.skipped.parquet",
        skipped_csv="results/texts/{experiment}.skipped.csv",
    log:
        "<logs>/texts/{experiment}.log",
    wildcard_constraints:
        experiment=any_of(name for name, each in CONFIG.experiments.items() if each.table),
    conda:
        "../../envs/tokenize.yaml"
    params:
        table=lambda wildcards: asdict(get_experiment(wildcards).table),
        file=lambda wildcards: get_experiment(wildcards).file,
        senses=lambda wildcards: "senses" in get_experiment(wildcards).analyses,
        code=fingerprint("texts"),
    script:
        "../scripts/texts.py"


rule tokens:
    input:
        tokenizer=get_tokenizer,
        words=get_word_list,
        texts=get_texts,
    output:
        tokens=TOKENS,
        skipped="results/tokens/{model}/{experiment}.skipped.parquet",
        skipped_csv="results/tokens/{model}/{experiment}.skipped.csv",
    log:
        "<logs>/tokens/<across>.log",
    priority: get_turn(RUN + 1)
    conda:
        "../../envs/tokenize.yaml"
    resources:
        passing_weights=get_passing,
    params:
        entry=experiment_setting("token_settings"),
        hash=experiment_setting("hash"),
        code=fingerprint("tokens", "texts.shuffle"),  # which rows of a table are put through
    script:
        "../scripts/tokens.py"


# The same of a running text of any size, whose states are not stored.
rule streamed_tokens:
    input:
        tokenizer=get_tokenizer,
        words=get_word_list,
        classes=get_function_words,
    output:
        tokens=TOKENS,
        skipped="results/tokens/{model}/{experiment}.skipped.parquet",
        skipped_csv="results/tokens/{model}/{experiment}.skipped.csv",
    log:
        "<logs>/streamed_tokens/<across>.log",
    wildcard_constraints:
        experiment=any_of(STREAMED),
    priority: get_turn(RUN + 1)
    conda:
        "../../envs/tokenize.yaml"
    resources:
        passing_weights=get_passing,
    params:
        entry=experiment_setting("token_settings"),
        hash=experiment_setting("hash"),
        code=fingerprint("streamed_tokens"),
    script:
        "../scripts/streamed_tokens.py"


ruleorder: streamed_tokens > tokens
