# Measures of the user's own: one Python file each, named in the configuration.
#
# in:  hidden states, tokens, of the weights the embedding matrix where the measure reads it, and its table of the
#      baseline's texts
# out: results/metrics/{model}/{checkpoint}/{experiment}/{MEASURE,MEASURE_curves}.parquet and .csv


for measure in CONFIG.measures.values():

    rule:
        name:
            f"{measure.name}_measure"
        input:
            **(checkpoint_files("weights", "config") if "embedding" in measure.reads else {}),
            states=STATES,
            tokens=TOKENS,
            baseline=get_measure_baseline(measure.name),
        output:
            **outputs(measure.name),
        log:
            f"<logs>/{measure.name}_measure/<run>.log",
        priority: get_turn(LIGHT) if "embedding" in measure.reads else LIGHT
        conda:
            "../../envs/analysis.yaml"
        resources:
            passing_weights=get_passing if "embedding" in measure.reads else 0,
        params:
            measure=measure.table_settings,
            groups=get_own_columns,
            code=fingerprint("measure"),
        script:
            "../scripts/measure.py"

    rule:
        name:
            f"{measure.name}_curves"
        input:
            table(measure.name),
        output:
            **outputs(f"{measure.name}_curves"),
        log:
            f"<logs>/{measure.name}_curves/<run>.log",
        conda:
            "../../envs/analysis.yaml"
        params:
            measure=measure.table_settings,
            groups=get_own_columns,
            kind=experiment_setting("kind"),
            statistics=CONFIG.statistics,
            code=fingerprint("measure_curves"),
        script:
            "../scripts/measure_curves.py"
