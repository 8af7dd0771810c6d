# The words that experiments draw theirs from.
#
# in:  the package wordfreq, which is installed
# out: resources/words/wordfreq.txt, one word a line, the most frequent first


localrules:
    word_list,


rule word_list:
    output:
        ensure(local(WORD_LIST), non_empty=True),
    log:
        "results/logs/word_list.log",
    benchmark:
        "results/benchmarks/word_list.tsv"
    conda:
        "../../envs/tokenize.yaml"
    params:
        n=100_000,
        code=fingerprint("word_list"),
    script:
        "../scripts/word_list.py"
