# Running texts of any size: what a model does with their tokens is added up while it runs, a part of the text to a job.
#
# in:  tokens, weights of a checkpoint and its tokenizer; tables of the baseline
# out: results/corpora/{model}/{checkpoint}/{experiment}/{shard}_of_{shards}.{pieces,types,products}.parquet;
#      results/metrics/{model}/{checkpoint}/{experiment}/{corpus_by_layer,corpus_geometry,corpus_types}.*


rule corpus_sums:
    input:
        **checkpoint_files("tokenizer", "weights", "config", "provenance"),
        pieces=TOKENS,
    output:
        **{kind: SUMS.replace("{kind}", kind) for kind in ("pieces", "types", "products")},
    log:
        "<logs>/corpus_sums/<run>/{shard}_of_{shards}.log",
    wildcard_constraints:
        experiment=any_of(STREAMED),
        shard=r"\d+",
        shards=r"\d+",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("corpus_sums"),
    params:
        **DEVICES,
        sites=experiment_setting("sites"),
        readout=experiment_setting("corpus", "readout"),
        seed=CONFIG.statistics["seed"],
        extract={key: CONFIG.extract[key] for key in ("dtype", "token_budget")},
        code=fingerprint("corpus_sums"),
    message:
        "Running {wildcards.model} ({wildcards.checkpoint}) on part {wildcards.shard} of {wildcards.shards} of {wildcards.experiment}"
    script:
        "../scripts/corpus_sums.py"


rule corpus_tables:
    input:
        unpack(get_baseline),
        tokens=TOKENS,
        pieces=get_parts(SUMS, kind="pieces"),
        types=get_parts(SUMS, kind="types"),
        products=get_parts(SUMS, kind="products"),
    output:
        **outputs("corpus_by_layer", geometry="corpus_geometry", types="corpus_types"),
    log:
        "<logs>/corpus_tables/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("corpus"),
    script:
        "../scripts/corpus.py"
