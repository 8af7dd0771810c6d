# What the published studies claim, tested against the tables of this run; and their figures in one folder.
#
# in:  the claims file, and the metric tables that it names and this configuration makes; the files that the
#      configuration lists under `paper`
# out: results/claims.parquet, .csv and .html, results/numbers.json;
#      results/paper/{study}/{number}_{name}.*, results/paper/index.html and .csv

from tokentrails.claims.file import load_claims
from tokentrails.claims.sources import sources
from tokentrails.documents.paper import items

# All tables that a claim may name, whether this configuration makes them or not.
METRICS = sorted(name for name, row in CATALOGUE.tables.items() if row.analyses)
try:
    CLAIMS = load_claims(SETUP.claims["file"], METRICS) if SETUP.claims["enabled"] else None
except TokentrailsError as error:
    raise WorkflowError(str(error)) from None


def get_claim_sources():
    """By claim or number, and by model that it is about: path and reason of each table."""

    def by_model(tables, models):
        return {
            model.name: {
                name: (source.path, source.reason)
                for name, source in sources(tables, model, SETUP).items()
            }
            for model in SETUP.models.values()
            if models is None or model.name in models
        }

    claims = {claim.id: by_model(claim.tables, claim.applies_to.models) for claim in CLAIMS.claims}
    return claims | {
        number.name: by_model(number.tables, number.models) for number in CLAIMS.numbers
    }


PAPER_ITEMS = items(SETUP.paper)
PAPER_INDEX = {"page": "results/paper/index.html", "table": "results/paper/index.csv"}

CLAIM_FILES = {
    "table": "results/claims.parquet",
    "csv": "results/claims.csv",
    "page": "results/claims.html",
    "numbers": "results/numbers.json",
}


def get_claims(wildcards):
    """The table of claims, its page, and the numbers that texts quote."""
    return list(CLAIM_FILES.values()) if CLAIMS else []


def get_paper(wildcards):
    """The folder's index, which is made with all of it; nothing where no figures are listed."""
    return list(PAPER_INDEX.values()) if PAPER_ITEMS else []


if CLAIMS:
    CLAIM_SOURCES = get_claim_sources()

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
            **{
                name: (
                    report(
                        path,
                        caption="../report/claims.rst",
                        category="Claims",
                        labels={"what": "table" if name == "csv" else "page"},
                    )
                    if name in ("csv", "page")
                    else path
                )
                for name, path in CLAIM_FILES.items()
            },
        log:
            "<logs>/claims.log",
        benchmark:
            "<benchmarks>/claims.tsv"
        conda:
            "../../envs/claims.yaml"
        params:
            sources=CLAIM_SOURCES,
            metrics=METRICS,
            models={
                model.name: {"reference": model.reference, "checkpoints": len(model.checkpoints)}
                for model in SETUP.models.values()
            },
            statistics=SETUP.statistics,
            code=fingerprint("claims"),
        script:
            "../scripts/claims.py"


# The figures and tables of the studies, numbered as there.
if PAPER_ITEMS:

    rule paper:
        input:
            sorted({source for item in PAPER_ITEMS for source, _ in item.files}),
        output:
            [target for item in PAPER_ITEMS for _, target in item.files],
            **PAPER_INDEX,
        log:
            "<logs>/paper.log",
        benchmark:
            "<benchmarks>/paper.tsv"
        localrule: True
        conda:
            "../../envs/claims.yaml"
        params:
            entries=SETUP.paper,
            code=fingerprint("paper"),
        script:
            "../scripts/paper.py"
