"""Fit a tuned lens to a model, on a running text."""

from pathlib import Path

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run

    from tokentrails.config.experiments import load_experiment
    from tokentrails.files.hashes import facts_of
    from tokentrails.files.tables import provenance_of, write_table
    from tokentrails.metrics.own_token import Readout
    from tokentrails.network.parts import load_parts
    from tokentrails.texts.corpus import with_pieces_of
    from tokentrails.texts.mining import read_text
    from tokentrails.texts.tokenization import TokenizerFiles, tokenize
    from tokentrails.texts.whole import whole_texts
    from tokentrails.training.lens import fit_lens, refuse_few

    params, path = snakemake.params, Path(snakemake.input.text[0])
    run = prepare_run(snakemake)
    checkpoint, name = run.checkpoint, run.checkpoint.facts["model"]
    length = checkpoint.architecture.context_length(checkpoint.config)
    files = TokenizerFiles.load(checkpoint.folder)
    experiment = load_experiment("lens", {"file": params.file, "analyses": []})
    experiment = with_pieces_of(read_text(path), experiment, files, length, model=name)
    tokens, _ = tokenize(experiment, files, length, model=name)
    texts = whole_texts(tokens)
    refuse_few(texts, experiment)
    model, architecture, parts = load_parts(checkpoint.folder, run.device, run.spread)
    readout = Readout(model, architecture, parts, files.entries(len(parts.embedding)))
    provenance = run.provenance | {"texts": params.file} | facts_of(path, "text")
    lens, table = fit_lens(texts, readout, seed=params.seed, provenance=provenance)
    said = {name: table[name].to_pylist() for name in ("kl_plain", "kl_fitted", "kept")}
    said |= {"d_model": checkpoint.facts["d_model"], "num_hidden_layers": len(lens.weights)}
    lens.write(Path(snakemake.output.maps), provenance_of(table) | said)
    write_table(table, snakemake.output.table, snakemake.output.csv)
