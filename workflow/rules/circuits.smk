# Heads, neurons and the stream in words: what they look for, pass on and predict, and what moves a token.
#
# in:  weights of a checkpoint and its tokenizer; but for the neurons the tokens of an experiment on whole texts
# out: results/metrics/{model}/{checkpoint}/{experiment}/{attention,heads,head_summary,activations,
#      first_position_neurons,evolution,predictions,attribution,attribution_cosine,attribution_sum,attribution_by_layer,
#      attribution_causal}.*,
#      results/metrics/{model}/{checkpoint}/weights/neurons.*


rule head_tables:
    input:
        **checkpoint_files("tokenizer", "weights", "config", "provenance"),
        tokens=TOKENS,
    output:
        **outputs(attention="attention", heads="heads", summary="head_summary"),
    log:
        "<logs>/head_tables/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("head_tables"),
    params:
        **DEVICES,
        circuits=experiment_setting("circuits", "head_settings"),
        code=fingerprint("heads"),
    message:
        "Reading the heads of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment} as words"
    script:
        "../scripts/heads.py"


rule activations:
    input:
        **checkpoint_files("weights", "config", "provenance"),
        tokens=TOKENS,
    output:
        **outputs("activations", first="first_position_neurons"),
    log:
        "<logs>/activations/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("activations"),
    params:
        **DEVICES,
        circuits=experiment_setting("circuits", "activation_settings"),
        code=fingerprint("activations"),
    message:
        "Watching the neurons of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment}"
    script:
        "../scripts/activations.py"


# Of the weights alone, for all experiments.
rule neuron_table:
    input:
        **checkpoint_files("tokenizer", "weights", "config", "provenance", user=get_neurons_user),
    output:
        **outputs("neurons"),
    log:
        "<logs>/neuron_table/{model}/{checkpoint}.log",
    priority: get_turn(HEAVY)
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("neuron_table"),
    params:
        **DEVICES,
        listing=get_neuron_settings,
        code=fingerprint("neurons"),
    message:
        "Reading the neurons of {wildcards.model} ({wildcards.checkpoint}) as words"
    script:
        "../scripts/neurons.py"


rule evolution_tables:
    input:
        **checkpoint_files("tokenizer", "weights", "config", "provenance"),
        tokens=TOKENS,
    output:
        **outputs("evolution", predictions="predictions"),
    log:
        "<logs>/evolution_tables/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("evolution_tables"),
    params:
        **DEVICES,
        top=experiment_setting("circuits", "top"),
        whole_words=experiment_setting("circuits", "whole_words"),
        code=fingerprint("evolution"),
    message:
        "Reading the stream of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment} as words"
    script:
        "../scripts/evolution.py"


# The predictions again, to be read in a terminal.
rule predictions_text:
    input:
        table("predictions"),
    output:
        table("predictions", "txt"),
    log:
        "<logs>/predictions_text/<run>.log",
    priority: SHOWN
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("predictions_text"),
    script:
        "../scripts/predictions_text.py"


rule attribution_tables:
    input:
        **checkpoint_files("weights", "config", "provenance"),
        tokens=TOKENS,
    output:
        **outputs("attribution", cosine="attribution_cosine", sum="attribution_sum"),
    log:
        "<logs>/attribution_tables/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("attribution_tables"),
    params:
        **DEVICES,
        code=fingerprint("attribution"),
    message:
        "Attributing the change of identity in {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment}"
    script:
        "../scripts/attribution.py"


rule attribution_by_layer:
    input:
        cosine=table("attribution_cosine"),
        tokens=TOKENS,
    output:
        **outputs("attribution_by_layer"),
    log:
        "<logs>/attribution_by_layer/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("attribution_by_layer"),
    script:
        "../scripts/attribution_by_layer.py"


# The same with parts set to their means, one at a time.
rule ablation_table:
    input:
        **checkpoint_files("tokenizer", "weights", "config", "provenance"),
        tokens=TOKENS,
        baseline=get_other_tokens,
        by_layer=table("attribution_by_layer"),
    output:
        **outputs("attribution_causal"),
    log:
        "<logs>/ablation_table/<run>.log",
    priority: get_turn()
    conda:
        "../../envs/torch.yaml"
    threads: get_threads
    resources:
        **gpu_needs("ablation_table"),
    params:
        **DEVICES,
        ablate=experiment_setting("circuits", "ablate"),
        statistics=CONFIG.statistics,
        code=fingerprint("ablation"),
    message:
        "Setting heads and MLPs of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment} to their means"
    script:
        "../scripts/ablation.py"
