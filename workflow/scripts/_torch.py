"""What scripts that use torch begin with."""

import os


def prepare_torch(snakemake):
    """Set torch up for the job's threads."""
    import torch

    torch.set_num_threads(min(snakemake.threads, len(os.sched_getaffinity(0))))


def quiet_transformers():
    """No progress bars and no warnings of transformers in logs."""
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
