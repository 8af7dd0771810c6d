"""What Slurm says of the jobs of a run, as its executor takes it."""

from __future__ import annotations

from typing import Any

_CORRECTED = "tokentrails_corrected"
"""An attribute that tells a function of the executor's that was changed already."""


def correct_job_states() -> None:
    """Let Slurm's executor see that a job was cancelled, and outlast an outage of Slurm.

    Version 2.8 does not know the state `CANCELLED by 1000`, which is what sacct says, and takes the
    job for one that runs. And it forgets all jobs that Slurm cannot be asked for in five looks in a
    row. Either way it would wait for ever.
    """
    import snakemake_executor_plugin_slurm as executor  # here: runs elsewhere need not have it

    query = executor.query_job_status
    if hasattr(query, _CORRECTED):
        return

    async def corrected(command: str, logger: Any) -> tuple[dict[str, str], float]:
        states, seconds = await query(command, logger)
        if states is None:
            # Jobs of which nothing is said are taken for waiting ones, and looked for again.
            logger.warning(f"Slurm does not answer {command.split()[0]}, and is asked again later.")
            return {}, 0.0
        return {job: state.partition(" ")[0] for job, state in states.items()}, seconds

    setattr(corrected, _CORRECTED, True)
    executor.query_job_status = corrected
