# A page on this machine: type a text, choose a token, see its path. It makes no file by itself.
#
# in:  checkpoints of the models that are kept
# out: nothing, and config/experiments/{experiment}.yaml where that is asked for


rule explore:
    input:
        get_models,
    log:
        "<logs>/explore.log",
    localrule: True
    conda:
        "../../envs/explore.yaml"
    # All that there are: it is alone, and answers one question at a time.
    threads: 64
    params:
        **DEVICES,
        folders=get_folders,
        texts=get_prompts,
        baseline=get_baseline_texts,
        controls=get_controls,
        port=CONFIG.explore["port"],
    message:
        "Starting the explorer"
    script:
        "../scripts/explore.py"
