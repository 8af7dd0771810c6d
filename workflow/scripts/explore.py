"""Answer the explorer's page until Ctrl-C."""

from pathlib import Path

from _job import job

with job(snakemake, libraries=None):
    from _torch import prepare_torch, quiet_transformers

    from tokentrails.catalogue import BASELINE
    from tokentrails.config.experiments import load_experiment
    from tokentrails.explore.server import serve
    from tokentrails.network.device import choose_device

    prepare_torch(snakemake)
    quiet_transformers()
    params = snakemake.params
    folders = {
        model: {checkpoint: Path(folder) for checkpoint, folder in checkpoints.items()}
        for model, checkpoints in params.folders.items()
    }
    entry = params.baseline
    baseline = None if entry is None else load_experiment(BASELINE, entry)
    device = choose_device(params.device)
    serve(folders, params.texts, device, params.port, baseline, params.controls)
