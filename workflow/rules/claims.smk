# What the published studies claim, tested against the tables of this run.
#
# in:  the claims file, and the metric tables that it names and this configuration makes
# out: results/claims.parquet, .csv and .html, results/numbers.json

from tokentrails.claims.file import load_claims
from tokentrails.claims.sources import known_metrics, sources

# All tables that a claim may name, whether this configuration makes them or not.
METRICS = known_metrics(
    MEASURED,
    *("neurons", "baseline", "baseline_dimensions"),
    *("senses", "senses_by_layer", "senses_best"),
    *("half_lives", "half_lives_by_group", "half_life_curve"),
)
try:
    CLAIMS = load_claims(SETUP.claims["file"], METRICS) if SETUP.claims["enabled"] else None
except TokentrailsError as error:
    raise WorkflowError(str(error)) from None


def get_claim_sources():
    """By claim or number, and by model that it is about: path and reason of each table."""

    def path(model, checkpoint, experiment, metric):
        run = {"model": model, "checkpoint": checkpoint, "experiment": experiment}
        return METRIC.format(metric=metric, suffix="parquet", **run)

    def of(tables, models):
        return {
            model.name: {
                name: (source.path, source.reason)
                for name, source in sources(tables, model, SETUP, MEASURED, path).items()
            }
            for model in SETUP.models.values()
            if models is None or model.name in models
        }

    claims = {claim.id: of(claim.tables, claim.applies_to.models) for claim in CLAIMS.claims}
    return claims | {number.name: of(number.tables, number.models) for number in CLAIMS.numbers}


CLAIM_SOURCES = get_claim_sources() if CLAIMS else {}
CLAIM_FILES = [
    *multiext("results/claims", ".parquet", ".csv", ".html"),
    "results/numbers.json",
]


def get_claims(wildcards):
    """The table of claims, its page, and the numbers that texts quote."""
    return CLAIM_FILES if CLAIMS else []


if CLAIMS:

    rule claims:
        input:
            file=SETUP.claims["file"],
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
            code=fingerprint("claims.file", "claims.table", "claims.page", "claims.numbers"),
        script:
            "../scripts/claims.py"
