"""What knows of Snakemake, Slurm or the machine."""
