# Figures across models, at the reference checkpoint of each.
#
# in:  metric tables of every model of an experiment
# out: results/composites/{experiment}_{senses,depth}.*


localrules:
    composite,


rule composite:
    input:
        identity=get_of_all_models("identity"),
        context=get_of_all_models("context"),
    output:
        report(
            "results/composites/{experiment}_{composite}.svg",
            caption="../report/composite.rst",
            category="Composites",
            labels={"experiment": "{experiment}", "composite": "{composite}"},
        ),
        multiext("results/composites/{experiment}_{composite}", ".html", ".png", ".pdf", ".json"),
    log:
        "results/logs/composite/{experiment}_{composite}.log",
    wildcard_constraints:
        composite="senses|depth",
    conda:
        "../../envs/figures.yaml"
    params:
        title=lambda wildcards: get_title(wildcards.composite)(wildcards),
        code=fingerprint("figures.identity", "figures.save"),
    script:
        "../scripts/composite.py"
