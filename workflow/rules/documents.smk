# The tables that people read: what heads and neurons do in a text, in words.
#
# in:  the tables of the analyses of whole texts, and the texts
# out: results/tables/{model}/{checkpoint}/{experiment}/{label}.xlsx and .html


localrules:
    document,


rule document:
    input:
        unpack(get_document_tables),
        tokens="results/tokens/{model}/{experiment}.parquet",
    output:
        workbook="results/tables/{model}/{checkpoint}/{experiment}/{label}.xlsx",
        page=report(
            "results/tables/{model}/{checkpoint}/{experiment}/{label}.html",
            caption="../report/document.rst",
            category="Tables that people read",
            subcategory="{experiment}",
            labels={"model": "{model}", "checkpoint": "{checkpoint}", "text": "{label}"},
        ),
    log:
        "results/logs/document/{model}/{checkpoint}/{experiment}/{label}.log",
    benchmark:
        "results/benchmarks/document/{model}/{checkpoint}/{experiment}/{label}.tsv"
    conda:
        "../../envs/documents.yaml"
    params:
        code=fingerprint("document"),
    message:
        "Writing what {wildcards.model} ({wildcards.checkpoint}) does in {wildcards.label}, in words"
    script:
        "../scripts/document.py"
