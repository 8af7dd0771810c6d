"""A figure across checkpoints."""

from _job import job

with job(snakemake):
    from tokentrails.figures import alignment, convergence, convergence_heatmap, perturbation
    from tokentrails.figures.pieces.save import save
    from tokentrails.files.tables import read_frame

    draw = {
        "convergence": convergence.convergence,
        "convergence_aggregate": convergence.convergence_aggregate,
        "convergence_slope": convergence.convergence_slope,
        "convergence_heatmap": convergence_heatmap.convergence_heatmap,
        "alignment": alignment.alignment,
        "perturbation": perturbation.perturbation,
        "perturbation_steps": perturbation.perturbation_steps,
    }[snakemake.wildcards.figure]
    chart = draw(
        read_frame(snakemake.input.table),
        read_frame(snakemake.input.checkpoints),
        title=snakemake.params.title,
        **snakemake.params.options,
    )
    save(chart, snakemake.output, snakemake.input.page_script)
