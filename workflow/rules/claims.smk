# What the published studies claim, tested against the tables of this run; and their figures in one folder.
#
# in:  the claims file, and the metric tables that it names and this configuration makes; the files that the
#      configuration lists under `paper`
# out: results/claims.parquet, .csv and .html, results/findings.html, results/claims_forms.parquet and .csv,
#      results/numbers.json; results/paper/{study}/{number}_{name}.*, results/paper/index.html and .csv

from tokentrails.claims.file import load_claims
from tokentrails.claims.sources import claim_sources, control_draws, paths_by_model
from tokentrails.documents.paper import PRINTED, items

# All tables that a claim may name, whether this configuration makes them or not.
METRICS = sorted(name for name, row in CATALOGUE.tables.items() if row.analyses)
try:
    CLAIMS = load_claims(CONFIG.claims["file"], METRICS) if CONFIG.claims["enabled"] else None
except TokentrailsError as error:
    refuse(error)


PAPER_FORMATS = [suffix for suffix in PRINTED if suffix in CONFIG.formats]
PAPER_ITEMS = items(CONFIG.paper, PAPER_FORMATS)
CLAIM_FILES = {
    "table": "results/claims.parquet",
    "csv": "results/claims.csv",
    "forms": "results/claims_forms.parquet",
    "forms_csv": "results/claims_forms.csv",
    "page": "results/claims.html",
    "findings": "results/findings.html",
    "numbers": "results/numbers.json",
}
CLAIMS_REPORTED = {
    "findings": {
        "caption": "findings.rst",
        "category": Category.FINDINGS,
        "labels": {"what": "page"},
    },
} | {
    name: {"caption": "claims.rst", "category": Category.CLAIMS, "labels": {"what": what}}
    for name, what in {
        "page": "page",
        "csv": "table",
        "forms_csv": "table, every form of similarity",
    }.items()
}
PAPER_INDEX = {"page": "results/paper/index.html", "table": "results/paper/index.csv"}
# What is asked for: nothing where claims are switched off, or no figures of studies are listed.
CLAIM_TARGETS = list(CLAIM_FILES.values()) if CLAIMS else []
PAPER_TARGETS = list(PAPER_INDEX.values()) if PAPER_ITEMS else []


if CLAIMS:
    CLAIM_SOURCES = claim_sources(CLAIMS, CONFIG)
    CLAIM_DRAWS = control_draws(CLAIMS, CONFIG)
    CLAIM_PATHS = paths_by_model(CLAIM_SOURCES, CLAIM_DRAWS)

    rule claims:
        input:
            file=local(CONFIG.claims["file"]),
            tables=sorted({path for paths in CLAIM_PATHS.values() for path in paths}),
        output:
            **{
                name: (
                    reported(path, **CLAIMS_REPORTED[name]) if name in CLAIMS_REPORTED else path
                )
                for name, path in CLAIM_FILES.items()
            },
        log:
            "<logs>/claims.log",
        conda:
            "../../envs/claims.yaml"
        params:
            sources=CLAIM_SOURCES,
            draws=CLAIM_DRAWS,
            metrics=METRICS,
            models={
                model.name: {"reference": model.reference, "checkpoints": len(model.checkpoints)}
                for model in CONFIG.models.values()
            },
            replicates={name: each.names for name, each in CONFIG.replicates.items()},
            statistics=CONFIG.statistics,
            code=fingerprint("claims"),
        script:
            "../scripts/claims.py"


# The figures and tables of the studies, numbered as there.
if PAPER_ITEMS:
    if workflow.is_main_process:
        for index, item in enumerate(PAPER_ITEMS):
            for source, _ in item.files:
                refuse_unmade(source, CONFIG.where / "paper" / index / "file")

    rule paper:
        input:
            sorted({source for item in PAPER_ITEMS for source, _ in item.files}),
        output:
            [target for item in PAPER_ITEMS for _, target in item.files],
            **PAPER_INDEX,
        log:
            "<logs>/paper.log",
        localrule: True
        conda:
            "../../envs/claims.yaml"
        params:
            entries=CONFIG.paper,
            formats=PAPER_FORMATS,
            code=fingerprint("paper"),
        script:
            "../scripts/paper.py"
