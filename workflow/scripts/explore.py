"""Answer the explorer's page until Ctrl-C."""

from pathlib import Path

from _job import job

with job(snakemake, libraries=None):
    from _torch import prepare_torch, quiet_transformers

    from tokentrails.catalogue import BASELINE
    from tokentrails.config.experiments import load_experiment
    from tokentrails.explore.server import serve
    from tokentrails.network.spread import Placement

    prepare_torch(snakemake)
    quiet_transformers()
    params = snakemake.params
    folders = {
        model: {checkpoint: Path(folder) for checkpoint, folder in checkpoints.items()}
        for model, checkpoints in params.folders.items()
    }
    entry = params.baseline
    baseline = None if entry is None else load_experiment(BASELINE, entry)
    place = Placement.choose(params.device, params.device_map)
    serve(folders, params.texts, place, params.port, baseline, params.controls)
