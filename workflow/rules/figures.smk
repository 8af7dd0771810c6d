# Figures: one rule for each row of the catalogue; and what all pages with figures share.
#
# in:  tables
# out: results/figures/*, results/composites/*; resources/figures/page.js


# Once for all figures: this takes longer than to draw one.
rule page_script:
    output:
        local(PAGE_SCRIPT),
    log:
        "<logs>/page_script.log",
    priority: SHOWN
    localrule: True
    conda:
        "../../envs/figures.yaml"
    params:
        code=fingerprint("page_script"),
    script:
        "../scripts/page_script.py"


for figure in CATALOGUE.figures.values():
    # The folder of logs below that of the rule; for all models there is one file.
    place = "/".join(
        f"{{{name}}}" for name in ("model", "checkpoint", "experiment") if name in figure.path
    )

    rule:
        name:
            f"{figure.name}_figure"
        input:
            unpack(get_figure_tables(figure)),
            page_script=local(PAGE_SCRIPT),
        output:
            reported(
                f"{figure.path}.svg",
                f"figures/{figure.caption or figure.name}.rst",
                category=figure.category,
                subcategory=figure.subject if figure.category is Category.FIGURES else None,
                labels=labels(figure.scope, figure=figure.name.replace("_", " ")),
            ),
            [f"{figure.path}.{suffix}" for suffix in CONFIG.formats if suffix != "svg"],
        log:
            f"<logs>/{figure.name}_figure/{place}.log"
            if place
            else f"<logs>/{figure.name}_figure.log",
        wildcard_constraints:
            model=NAME,
            experiment=figure_experiments(figure),
        priority: SHOWN
        localrule: True
        conda:
            "../../envs/figures.yaml"
        params:
            function=figure.function or figure.name,
            module=figure.drawing,
            inputs=figure.inputs,
            title=get_title(figure),
            options=get_options(figure),
            code=fingerprint("figure", figure.drawing),
        script:
            "../scripts/figure.py"
