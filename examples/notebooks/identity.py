"""A marimo notebook: open the tables of a run, and redraw one figure.

marimo edit identity.py     in a folder with results/
python identity.py          the same as a script: it writes identity.html
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium")


@app.cell
def imports():
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import polars as pl

    return Path, alt, mo, pl


@app.cell
def title(mo):
    mo.md("""
    # Identity, redrawn

    `identity` has a row for each text, site and layer: how much of its own embedding the token
    still is. Here are its means by model and experiment, in the form of similarity you choose.
    """)


@app.cell
def choose_results(mo):
    folder = mo.ui.text(value="results", label="results of a run")
    folder
    return (folder,)


@app.cell
def tables(Path, folder, pl):
    paths = sorted(Path(folder.value).glob("metrics/*/*/*/identity.parquet"))
    assert paths, f"no table 'identity' under {folder.value}/metrics: run the workflow first"
    keys = ["model", "checkpoint", "experiment", "site", "layer"]
    forms = ["cosine", "scaled", "matched", "centred", "standardised"]
    identity = pl.concat(pl.read_parquet(path, columns=keys + forms) for path in paths)
    identity
    return forms, identity


@app.cell
def choose_form(forms, identity, mo):
    form = mo.ui.dropdown(forms, value="cosine", label="form of similarity")
    sites = sorted(identity["site"].unique())
    site = mo.ui.dropdown(sites, value="resid" if "resid" in sites else sites[0], label="site")
    mo.hstack([form, site], justify="start")
    return form, site


@app.cell
def means(form, identity, pl, site):
    curves = (
        identity.filter(pl.col("site") == site.value)
        .group_by("model", "checkpoint", "experiment", "layer")
        .agg(mean=pl.col(form.value).mean(), texts=pl.len())
        .with_columns(depth=pl.col("layer") / pl.col("layer").max().over("model"))
        .sort("model", "checkpoint", "experiment", "layer")
    )
    curves
    return (curves,)


@app.cell
def figure(alt, curves, form):
    chart = (
        alt.Chart(curves)
        .mark_line(point=True)
        .encode(
            x=alt.X("depth", title="layer / depth"),
            y=alt.Y("mean", title=f"identity ({form.value})"),
            color="model",
            strokeDash="checkpoint",
            column="experiment",
            tooltip=list(curves.columns),
        )
    )
    chart
    return (chart,)


if __name__ == "__main__":
    _, definitions = app.run()
    definitions["chart"].save("identity.html", inline=True)
    print("identity.html")
