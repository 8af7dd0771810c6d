# Measures of hidden states, as tables.
#
# in:  hidden states, tokens, and of the weights the embedding matrix or the header
# out: results/metrics/{model}/{checkpoint}/{experiment}/*, results/metrics/{model}/all/{experiment}/*,
#      results/metrics/{model}/{checkpoint}/weights/parameters.*, results/scaling.*


# How alike random pairs are: what every similarity is compared with.
rule baseline:
    input:
        **checkpoint_files("weights", "config"),
        states=STATES,
        tokens=TOKENS,
    output:
        **outputs("baseline", dimensions="baseline_dimensions"),
    log:
        "<logs>/baseline/<run>.log",
    wildcard_constraints:
        experiment=BASELINE,
    priority: get_turn(LIGHT)
    conda:
        "../../envs/analysis.yaml"
    resources:
        passing_weights=get_passing,
    params:
        file=experiment_setting("file"),
        bootstrap={k: CONFIG.statistics[k] for k in ("bootstrap", "confidence", "seed")},
        code=fingerprint("baseline"),
    script:
        "../scripts/baseline.py"


rule identity:
    input:
        unpack(get_baseline),
        **checkpoint_files("weights", "config"),
        states=STATES,
        tokens=TOKENS,
        classes=get_function_words,
    output:
        **outputs("identity"),
    log:
        "<logs>/identity/<run>.log",
    priority: get_turn(LIGHT)
    conda:
        "../../envs/analysis.yaml"
    resources:
        passing_weights=get_passing,
    params:
        groups=experiment_setting("group_columns"),
        code=fingerprint("identity"),
    script:
        "../scripts/identity.py"


rule context:
    input:
        unpack(get_baseline),
        states=STATES,
        tokens=TOKENS,
        classes=get_function_words,
    output:
        **outputs("context"),
    log:
        "<logs>/context/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("context"),
    script:
        "../scripts/context.py"


rule summary:
    input:
        identity=table("identity"),
        context=get_context,
    output:
        **outputs("summary"),
    log:
        "<logs>/summary/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        threshold=CONFIG.summary["half_life_threshold"],
        code=fingerprint("summary"),
    script:
        "../scripts/summary.py"


rule curves:
    input:
        identity=table("identity"),
        context=get_context,
    output:
        **outputs("curves"),
    log:
        "<logs>/curves/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("curves"),
    script:
        "../scripts/curves.py"


rule half_lives:
    input:
        identity=table("identity"),
        tokens=TOKENS,
        words=get_frequency_list,
        classes=get_function_words,
    output:
        **outputs(
            "half_lives",
            by_group="half_lives_by_group",
            by_threshold="half_lives_by_threshold",
            curve="half_life_curve",
        ),
    log:
        "<logs>/half_lives/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/tokenize.yaml"
    params:
        threshold=CONFIG.summary["half_life_threshold"],
        thresholds=CONFIG.summary["half_life_thresholds"],
        statistics=CONFIG.statistics,
        code=fingerprint("half_lives"),
    script:
        "../scripts/half_lives.py"


rule senses_tables:
    input:
        unpack(get_baseline),
        control=get_replaced("senses"),
        states=STATES,
        tokens=TOKENS,
        classes=get_function_words,
    output:
        **outputs(senses="senses", by_layer="senses_by_layer", best="senses_best"),
    log:
        "<logs>/senses_tables/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    threads: get_threads
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("senses"),
    message:
        "Measuring how separable the senses of {wildcards.experiment} are in {wildcards.model} ({wildcards.checkpoint})"
    script:
        "../scripts/senses.py"


rule convergence_tables:
    input:
        states=get_all_checkpoints(STATES),
        tokens=TOKENS,
        classes=get_function_words,
    output:
        **outputs("convergence", by_group="convergence_by_group"),
    log:
        "<logs>/convergence_tables/<across>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        reference=model_setting("reference"),
        steps=get_steps,
        groups=get_token_counts,
        columns=get_own_columns,
        statistics=CONFIG.statistics,
        code=fingerprint("convergence"),
    message:
        "Comparing the checkpoints of {wildcards.model} on {wildcards.experiment}"
    script:
        "../scripts/convergence.py"


rule alignment_table:
    input:
        states=get_all_checkpoints(STATES),
        tokens=TOKENS,
    output:
        **outputs("alignment"),
    log:
        "<logs>/alignment_table/<across>.log",
    priority: HEAVY
    conda:
        "../../envs/analysis.yaml"
    params:
        reference=model_setting("reference"),
        steps=get_steps,
        groups=get_token_counts,
        statistics=CONFIG.statistics,
        code=fingerprint("alignment"),
    message:
        "Aligning the checkpoints of {wildcards.model} on {wildcards.experiment}"
    script:
        "../scripts/alignment.py"


rule geometry_table:
    input:
        states=STATES,
        tokens=TOKENS,
    output:
        **outputs("geometry"),
    log:
        "<logs>/geometry_table/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    threads: get_threads
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("geometry"),
    message:
        "Measuring the shape of the states of {wildcards.model} ({wildcards.checkpoint}) on {wildcards.experiment}"
    script:
        "../scripts/geometry.py"


rule perturbation_table:
    input:
        unpack(get_baseline),
        states=STATES,
        tokens=TOKENS,
        classes=get_function_words,
    output:
        **outputs("perturbation", contexts="perturbation_contexts"),
    log:
        "<logs>/perturbation_table/<run>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        code=fingerprint("perturbation"),
    script:
        "../scripts/perturbation.py"


rule perturbation_by_group:
    input:
        get_all_checkpoints(table("perturbation_contexts")),
    output:
        **outputs("perturbation_by_group"),
    log:
        "<logs>/perturbation_by_group/<across>.log",
    priority: LIGHT
    conda:
        "../../envs/analysis.yaml"
    params:
        steps=get_steps,
        groups=get_token_counts,
        statistics=CONFIG.statistics,
        code=fingerprint("perturbation_by_group"),
    script:
        "../scripts/perturbation_by_group.py"


# The same tables of sets of replicates: a mean over trainings, with the interval of that.
for row in (row for row in CATALOGUE.tables.values() if row.replicated):

    rule:
        name:
            f"{row.name}_of_replicates"
        input:
            get_member_tables(row),
        output:
            **outputs(row.name),
        log:
            f"<logs>/{row.name}_of_replicates/<across>.log",
        wildcard_constraints:
            model=SETS,
        priority: LIGHT
        conda:
            "../../envs/analysis.yaml"
        params:
            members=lambda wildcards: CONFIG.replicates[wildcards.model].names,
            statistics=CONFIG.statistics,
            code=fingerprint("replicates"),
        script:
            "../scripts/replicates.py"


# Of the weights alone, for all experiments.
rule parameters:
    input:
        **checkpoint_files("weights", "config", "provenance", user=get_user),
    output:
        **outputs("parameters"),
    log:
        "<logs>/parameters/{model}/{checkpoint}.log",
    priority: get_turn(LIGHT)
    conda:
        "../../envs/analysis.yaml"
    resources:
        passing_weights=get_passing,
    params:
        code=fingerprint("parameters"),
    script:
        "../scripts/parameters.py"


# What changes with the size of models, at their reference checkpoints.
rule scaling:
    input:
        unpack(lambda wildcards: TARGETS.scaling_inputs),
    output:
        **outputs("scaling", slopes="scaling_slopes"),
    log:
        "<logs>/scaling.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=CONFIG.statistics,
        code=fingerprint("scaling"),
    script:
        "../scripts/scaling.py"


# Of tables that are asked for by their path and cannot be made, Snakemake would say that it has no rule for them,
# or start a job that fails.
rule misplaced:
    input:
        refuse_misplaced,
    output:
        "results/metrics/{model}/{misplaced}",
    wildcard_constraints:
        misplaced=TARGETS.misplaced,
