# What a run will take, before it starts: jobs, GPU hours, downloads and disk.
#
# in:  the configuration, and what is there already
# out: a few lines on the terminal; nothing is fetched and nothing made


localrules:
    plan,


rule plan:
    log:
        "results/logs/plan.log",
    conda:
        "../../envs/torch.yaml"
    params:
        config=lambda wildcards: config,  # all of it: Snakemake is asked what it would do with it
        snakefile=str(workflow.main_snakefile),
        rules=get_rules,
    script:
        "../scripts/plan.py"
