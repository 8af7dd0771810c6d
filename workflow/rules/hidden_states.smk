# Hidden states of the targets, at every layer: the GPU rule.
#
# in:  weights of a checkpoint, tokens of an experiment
# out: results/hidden_states/{model}/{checkpoint}/{experiment}.parquet, and while it is made in parts
#      results/hidden_states/{model}/{checkpoint}/{experiment}/{shard}_of_{shards}.arrow


rule hidden_states:
    input:
        **checkpoint_files("weights", "config", "provenance"),
        tokens=TOKENS,
    output:
        # Without ensure(non_empty=True), which asks an object storage for the file before it is there.
        STATES,
    log:
        "<logs>/hidden_states/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("hidden_states"),
    params:
        **DEVICES,
        sites=experiment_setting("sites"),
        pooling=experiment_setting("pooling"),
        # The others of its keys change no state, or reach the rule in another way.
        extract={key: CONFIG.extract[key] for key in ("dtype", "store", "token_budget")},
        code=fingerprint("hidden_states"),
    message:
        "Running {wildcards.model} ({wildcards.checkpoint}) on the texts of {wildcards.experiment}"
    script:
        "../scripts/hidden_states.py"


# The same in parts, of experiments with more than extract.shard_tokens.
use rule hidden_states as partial_states with:
    output:
        temp(STATES_PART),
    log:
        "<logs>/partial_states/<run>/{shard}_of_{shards}.log",
    wildcard_constraints:
        experiment=any_of(IN_PARTS),
        shard=r"\d+",
        shards=r"\d+",
    resources:
        **gpu_needs("partial_states"),
    message:
        "Running {wildcards.model} ({wildcards.checkpoint}) on part {wildcards.shard} of {wildcards.shards} of {wildcards.experiment}"


rule joined_states:
    input:
        tokens=TOKENS,
        parts=get_parts(STATES_PART),
    output:
        STATES,
    log:
        "<logs>/joined_states/<run>.log",
    wildcard_constraints:
        experiment=any_of(IN_PARTS),
    priority: get_turn(LIGHT)
    conda:
        "../../envs/analysis.yaml"
    resources:
        # What reads the states needs the weights, too: nothing else is fetched before.
        passing_weights=get_passing,
    params:
        code=fingerprint("joined_states"),
    script:
        "../scripts/joined_states.py"


ruleorder: joined_states > hidden_states
