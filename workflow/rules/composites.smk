# Figures across models, at the reference checkpoint of each.
#
# in:  metric tables of every model of an experiment
# out: results/composites/{experiment}_{senses,depth,ranks,separability}.*


localrules:
    composite,


rule composite:
    input:
        unpack(get_composite_tables),
        page_script=PAGE_SCRIPT,
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
    benchmark:
        "results/benchmarks/composite/{experiment}_{composite}.tsv"
    wildcard_constraints:
        composite="|".join(COMPOSITES),
    conda:
        "../../envs/figures.yaml"
    params:
        title=lambda wildcards: get_title(wildcards.composite)(wildcards),
        options=get_composite(lambda about: about.options),
        code=get_composite(lambda about: fingerprint("composite", about.drawing)),
    script:
        "../scripts/composite.py"
