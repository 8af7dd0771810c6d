"""The own_token table."""

from pathlib import Path

from _job import job
from _words import read_classes

with job(snakemake, "torch"):
    from _run import prepare_run

    from tokentrails.files.hashes import sha256_of
    from tokentrails.files.tables import write_table
    from tokentrails.metrics.columns.frame import with_classes
    from tokentrails.metrics.own_token import Readout, own_token
    from tokentrails.network.lens import AffineLens
    from tokentrails.network.parts import load_parts
    from tokentrails.texts.tokenization import TokenizerFiles

    run = prepare_run(snakemake)
    folder, provenance, lenses = run.checkpoint.folder, run.provenance, {}
    for (name, kind), file in zip(snakemake.params.lenses, snakemake.input.lenses, strict=True):
        path = Path(file)
        lenses[name] = AffineLens.read(path, kind, run.checkpoint.facts, run.device)
        provenance[f"lens_{name}"] = f"{kind}, sha256 {sha256_of(path)}"
    model, architecture, parts = load_parts(folder, run.device, run.spread)
    entries = TokenizerFiles.load(folder).entries(len(parts.embedding))
    readout = Readout(model, architecture, parts, entries, lenses)
    tokens = with_classes(run.tokens, read_classes(snakemake))
    table = own_token(tokens, readout, provenance=provenance)
    write_table(table, snakemake.output.table, snakemake.output.csv)
