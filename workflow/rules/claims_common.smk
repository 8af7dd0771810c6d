# What the rules of claims and of the paper's folder need to know.

from tokentrails.claims.file import load_claims
from tokentrails.claims.sources import known_metrics, sources
from tokentrails.documents.paper import items

# All tables that a claim may name, whether this configuration makes them or not.
METRICS = known_metrics([*MEASURED.values(), *MEASURED_IN_WHOLE_TEXTS.values()], "neurons")
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
                for name, source in sources(tables, model, SETUP, get_measured, path).items()
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


PAPER_ITEMS = items(SETUP.paper)
PAPER_INDEX = ["results/paper/index.html", "results/paper/index.csv"]


def get_paper(wildcards):
    """The folder's index, which is made with all of it; nothing where no figures are listed."""
    return PAPER_INDEX if PAPER_ITEMS else []
