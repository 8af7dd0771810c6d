# The tables that people read: what heads and neurons do in a text, in words.
#
# in:  the tables of the analyses of whole texts, and the texts
# out: results/tables/{model}/{checkpoint}/{experiment}/{label}.xlsx and .html


rule document:
    input:
        unpack(get_document_tables),
        tokens=TOKENS,
    output:
        workbook=f"{DOCUMENT}.xlsx",
        page=reported(
            f"{DOCUMENT}.html",
            "document.rst",
            category=Category.DOCUMENTS,
            labels=labels(Scope.RUN, text="{label}"),
        ),
    log:
        "<logs>/document/<run>/{label}.log",
    priority: SHOWN
    localrule: True
    conda:
        "../../envs/documents.yaml"
    params:
        code=fingerprint("document"),
    message:
        "Writing what {wildcards.model} ({wildcards.checkpoint}) does in {wildcards.label}, in words"
    script:
        "../scripts/document.py"
