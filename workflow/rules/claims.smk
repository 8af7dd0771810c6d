# What the published studies claim, tested against the tables of this run.
#
# in:  the claims file, and the metric tables that it names and this configuration makes
# out: results/claims.parquet, .csv and .html, results/numbers.json

if CLAIMS:

    rule claims:
        input:
            file=local(SETUP.claims["file"]),
            tables=sorted(
                {
                    path
                    for models in CLAIM_SOURCES.values()
                    for tables in models.values()
                    for path, _ in tables.values()
                    if path
                }
            ),
        output:
            table="results/claims.parquet",
            csv=report(
                "results/claims.csv",
                caption="../report/claims.rst",
                category="Claims",
                labels={"what": "table"},
            ),
            page=report(
                "results/claims.html",
                caption="../report/claims.rst",
                category="Claims",
                labels={"what": "page"},
            ),
            numbers="results/numbers.json",
        log:
            "results/logs/claims.log",
        benchmark:
            "results/benchmarks/claims.tsv"
        conda:
            "../../envs/claims.yaml"
        params:
            sources=CLAIM_SOURCES,
            metrics=sorted(METRICS),
            models={
                model.name: {"reference": model.reference, "checkpoints": len(model.checkpoints)}
                for model in SETUP.models.values()
            },
            statistics=SETUP.statistics,
            code=fingerprint("claims"),
        script:
            "../scripts/claims.py"
