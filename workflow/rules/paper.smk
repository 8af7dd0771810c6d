# The figures and tables of the studies, in one folder and numbered as there.
#
# in:  the files that the configuration lists under `paper`
# out: results/paper/{study}/{number}_{name}.*, results/paper/index.html and .csv

if PAPER_ITEMS:

    localrules:
        paper,

    rule paper:
        input:
            sorted({source for item in PAPER_ITEMS for source, _ in item.files}),
        output:
            [target for item in PAPER_ITEMS for _, target in item.files],
            page="results/paper/index.html",
            table="results/paper/index.csv",
        log:
            "results/logs/paper.log",
        benchmark:
            "results/benchmarks/paper.tsv"
        conda:
            "../../envs/claims.yaml"
        params:
            entries=SETUP.paper,
            code=fingerprint("paper"),
        script:
            "../scripts/paper.py"
