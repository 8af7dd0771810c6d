# Hidden states of the targets, at every layer: the GPU rule.
#
# in:  weights of a checkpoint, tokens of an experiment
# out: results/hidden_states/{model}/{checkpoint}/{experiment}.parquet


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
