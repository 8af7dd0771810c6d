# When tokens lose their identity, mean curves with intervals, and what changes with size.
#
# in:  identity, context, senses, ranks, tokens; of the weights the header
# out: results/metrics/{model}/{checkpoint}/{experiment}/{half_lives,half_lives_by_group,
#      half_life_curve,curves}.*, the figure half_life, results/scaling.*, composites/scaling.*


localrules:
    half_life_figure,
    scaling_figure,


rule half_lives:
    input:
        identity="results/metrics/{model}/{checkpoint}/{experiment}/identity.parquet",
        tokens=TOKENS,
        words=local(WORD_LIST),
        classes=local("resources/words/function_words.yaml"),
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/half_lives.parquet",
        csv="results/metrics/{model}/{checkpoint}/{experiment}/half_lives.csv",
        by_group="results/metrics/{model}/{checkpoint}/{experiment}/half_lives_by_group.parquet",
        by_group_csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/half_lives_by_group.csv",
            caption="../report/half_lives.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "half-lives"},
        ),
        curve="results/metrics/{model}/{checkpoint}/{experiment}/half_life_curve.parquet",
        curve_csv="results/metrics/{model}/{checkpoint}/{experiment}/half_life_curve.csv",
    log:
        "results/logs/half_lives/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/half_lives/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/tokenize.yaml"
    params:
        threshold=SETUP.summary["half_life_threshold"],
        statistics=SETUP.statistics,
        code=fingerprint("half_lives"),
    script:
        "../scripts/half_lives.py"


rule curves:
    input:
        identity="results/metrics/{model}/{checkpoint}/{experiment}/identity.parquet",
        context=get_context,
    output:
        table="results/metrics/{model}/{checkpoint}/{experiment}/curves.parquet",
        csv=report(
            "results/metrics/{model}/{checkpoint}/{experiment}/curves.csv",
            caption="../report/curves.rst",
            category="Tables",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "table": "curves"},
        ),
    log:
        "results/logs/curves/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/curves/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=SETUP.statistics,
        code=fingerprint("curves"),
    script:
        "../scripts/curves.py"


rule half_life_figure:
    input:
        "results/metrics/{model}/{checkpoint}/{experiment}/half_life_curve.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/{checkpoint}/{experiment}/half_life.svg",
            caption="../report/half_life_figure.rst",
            category="Figures",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "figure": "half-life"},
        ),
        multiext(
            "results/figures/{model}/{checkpoint}/{experiment}/half_life",
            ".html",
            ".png",
            ".pdf",
            ".json",
        ),
    log:
        "results/logs/half_life_figure/{model}/{checkpoint}/{experiment}.log",
    benchmark:
        "results/benchmarks/half_life_figure/{model}/{checkpoint}/{experiment}.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("half_life"),
        options=OF_HALF_LIVES,
        code=fingerprint("half_life_figure"),
    script:
        "../scripts/half_life_figure.py"


# Of the weights alone, for all experiments.
rule parameters:
    input:
        weights=get_sized_file("model.safetensors"),
        config=get_sized_file("config.json"),
        provenance=get_sized_file("provenance.json"),
    output:
        table="results/metrics/{model}/{checkpoint}/weights/parameters.parquet",
        csv="results/metrics/{model}/{checkpoint}/weights/parameters.csv",
    log:
        "results/logs/parameters/{model}/{checkpoint}.log",
    benchmark:
        "results/benchmarks/parameters/{model}/{checkpoint}.tsv"
    priority: get_turn()
    conda:
        "../../envs/analysis.yaml"
    resources:
        passing_weights=get_passing,
    params:
        code=fingerprint("parameters"),
    script:
        "../scripts/parameters.py"


rule scaling:
    input:
        unpack(get_scaled_tables),
    output:
        table="results/scaling.parquet",
        csv=report("results/scaling.csv", caption="../report/scaling.rst", category="Tables"),
        slopes="results/scaling_slopes.parquet",
        slopes_csv="results/scaling_slopes.csv",
    log:
        "results/logs/scaling.log",
    benchmark:
        "results/benchmarks/scaling.tsv"
    conda:
        "../../envs/analysis.yaml"
    params:
        statistics=SETUP.statistics,
        code=fingerprint("scaling"),
    script:
        "../scripts/scaling.py"


rule scaling_figure:
    input:
        table="results/scaling.parquet",
        slopes="results/scaling_slopes.parquet",
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/composites/scaling.svg",
            caption="../report/scaling.rst",
            category="Composites",
        ),
        multiext("results/composites/scaling", ".html", ".png", ".pdf", ".json"),
    log:
        "results/logs/scaling_figure.log",
    benchmark:
        "results/benchmarks/scaling_figure.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=SETUP.figures["scaling"],
        options=BAND,
        code=fingerprint("scaling_figure"),
    script:
        "../scripts/scaling_figure.py"
