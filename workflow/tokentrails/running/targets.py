"""Files that a configuration asks for: tables, figures and documents, all or those of a target."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

from ..catalogue import BASELINE, COMPARED, DOCUMENT_SUFFIXES, Figure, Kind, Scope, Table
from ..errors import TokentrailsError
from ..files.near import near_name
from ..settings import Config, Experiment, Model, Replicates

DOCUMENT = "results/tables/{model}/{checkpoint}/{experiment}/{label}"
"""Pattern of the workbook and the page of a text, without the dot and the suffix."""

REPORTED = (
    *("results/findings.html", "results/claims.html", "results/claims.csv"),
    *("results/claims_forms.csv", "results/costs.csv"),
)
"""What the report shows of a run as a whole."""

Place = dict[str, str]
"""The wildcards of one file."""


class Targets:
    """The files that a configuration asks for, in its order.

    Methods take the name of a target, such as `senses`, and without one give the files of all.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._catalogue = config.catalogue

    def names(self) -> list[str]:
        """The targets there are."""
        found = (row.target for row in self._catalogue.analyses.values() if row.target)
        return list(dict.fromkeys(found))

    def tables(self, target: str | None = None) -> list[str]:
        """Every table, with its twins."""
        return [
            f"{table.path.format(**place)}.{suffix}"
            for table in self._catalogue.tables.values()
            for place in self._table_places(table, target)
            for suffix in table.suffixes
        ]

    def figures(self, target: str | None = None, scopes: Iterable[Scope] = Scope) -> list[str]:
        """Every figure of these scopes, in every format that is asked for."""
        return [
            f"{figure.path.format(**place)}.{suffix}"
            for figure in self._catalogue.figures.values()
            if figure.scope in scopes and target in (None, figure.target)
            for place in self._figure_places(figure)
            for suffix in self._config.formats
        ]

    def composites(self) -> list[str]:
        """Every figure across models."""
        return self.figures(scopes=(Scope.MODELS, Scope.ALL))

    def documents(self, target: str | None = None) -> list[str]:
        """The workbook and the page of every text whose heads, neurons or stream are listed."""
        tables = [table for table in self._catalogue.tables.values() if table.document]
        return [
            f"{DOCUMENT.format(**_place(*run), label=prompt.label)}.{suffix}"
            for run in self._config.runs()
            if run[-1].circuits
            and run[-1].circuits.documents
            and any(self._asks(run[-1], table, target) for table in tables)
            for prompt in run[-1].prompts
            for suffix in DOCUMENT_SUFFIXES
        ]

    def reported(self) -> dict[str, list[str]]:
        """What the report can show, first what says most: by its pattern, all files of a kind."""
        order = [Scope.MODELS, Scope.ALL, Scope.ACROSS, Scope.RUN, Scope.TRAINING]
        figures = sorted(self._catalogue.figures.values(), key=lambda row: order.index(row.scope))
        kinds: dict[str, Iterable[Place]] = {
            f"{row.path}.svg": self._figure_places(row) for row in figures
        }
        found = {path: [path] for path in REPORTED}
        found |= {kind: [kind.format(**place) for place in kinds[kind]] for kind in kinds}
        pages = [path for path in self.documents() if path.endswith(".html")]
        found[f"{DOCUMENT}.html"] = pages
        for table in self._catalogue.tables.values():
            if table.reported:
                kind = f"{table.path}.csv"
                found[kind] = [kind.format(**place) for place in self._table_places(table, None)]
        return found

    def refuse_unknown(self, wildcards: Mapping[str, str]) -> None:
        """Refuse names that the configuration does not have.

        Parameters
        ----------
        wildcards: of a job, as they stand in a target that may be misspelt.

        Raises
        ------
        TokentrailsError: for the first of them, with the name that is most like it.
        """
        models = {**self._config.models, **self._config.replicates}
        model = models.get(_known(wildcards, "model", models))
        experiment = _known(wildcards, "experiment", self._config.experiments)
        if isinstance(model, Model):
            # Its tokenizer may be that of a checkpoint which nothing else is asked of.
            checkpoints = (*model.checkpoints, model.tokenizer_checkpoint)
            _known(wildcards, "checkpoint", checkpoints, owner=model.name)
        # The wildcards of Snakemake are a list: `in` looks for a value.
        if wildcards.get("label") and (prompts := self._config.experiments[experiment].prompts):
            _known(wildcards, "label", [prompt.label for prompt in prompts], owner=experiment)

    @cached_property
    def misplaced(self) -> str:
        """A pattern of what `refuse_misplaced` refuses, below the folder of a model's tables."""
        across = _any_of(each.name for each in self._placed if each.scope is Scope.ACROSS)
        single = _any_of(each.name for each in self._placed if each.scope is Scope.RUN)
        lacking = _any_of(
            f"{re.escape(experiment.name)}/{_any_of(names)}"
            for experiment in self._config.experiments.values()
            if (names := [t.name for t in self._placed if not self._suits(t, experiment)])
        )
        places = (f"all/[^/]+/{single}", f"(?!all/)[^/]+/[^/]+/{across}", f"[^/]+/{lacking}")
        return rf"{_any_of(places)}\.(?:parquet|csv|txt)"

    def refuse_misplaced(self, path: str) -> None:
        """Refuse a table that is of another scope, or that its experiment cannot have.

        Parameters
        ----------
        path: of the table, which fits `misplaced`.

        Raises
        ------
        TokentrailsError: with the place of the experiment in the configuration.
        """
        *_, model, checkpoint, name, file = path.split("/")
        self.refuse_unknown({"model": model, "experiment": name})
        experiment = self._config.experiments[name]
        here = self._config.where / "experiments" / name
        table = self._catalogue.tables[file.partition(".")[0]]
        if not self._suits(table, experiment):
            problem, hint = self._misfit(table, experiment)
            raise here.error(f"{path} {problem}", hint)
        if checkpoint == "all":
            whole = self._config.models[model]
            raise here.error(
                f"{path} is a table of one checkpoint, and 'all' stands in its place",
                f"write one in the place of 'all': {', '.join(experiment.checkpoints_of(whole))}.",
            )
        raise here.error(
            f"{path} is a table of all checkpoints of a model, and {checkpoint!r} is one of them",
            f"write all in the place of {checkpoint!r}.",
        )

    @cached_property
    def _placed(self) -> list[Table]:
        """The tables of an experiment."""
        tables = self._catalogue.tables.values()
        return [table for table in tables if table.scope in (Scope.RUN, Scope.ACROSS)]

    def _suits(self, table: Table, experiment: Experiment) -> bool:
        """Whether an experiment can have a table.

        One that it does not ask for it can have, where that takes no settings of an analysis, no
        senses and no other tables.
        """
        kinds = self._kinds(table)
        if not kinds:
            return experiment.name == BASELINE
        lacking = self._lacking(table, experiment)
        return experiment.kind in kinds and len(lacking) < len(table.analyses)

    def _kinds(self, table: Table) -> Collection[Kind]:
        """Of the experiments that a table is of; none of the baseline's own tables."""
        analyses = (self._catalogue.analyses[name] for name in table.analyses)
        return table.kinds or list(dict.fromkeys(kind for each in analyses for kind in each.kinds))

    def _lacking(self, table: Table, experiment: Experiment) -> list[str]:
        """The analyses of a table for which the experiment has not what they take."""
        return [
            name
            for name in table.analyses
            if (self._catalogue.analyses[name].inside and experiment.circuits is None)
            or (name == "ranks" and experiment.ranks is None)
            or (name == "senses" and not _has_senses(experiment))
            or (name == "matched_groups" and set(COMPARED).isdisjoint(experiment.analyses))
        ]

    def _misfit(self, table: Table, experiment: Experiment) -> tuple[str, str]:
        """Why a table does not suit an experiment, and a hint."""
        kinds = self._kinds(table)
        if not kinds:
            return (
                f"is a table of the texts of {BASELINE} alone",
                f"write {BASELINE} in the place of {experiment.name!r}.",
            )
        if experiment.kind not in kinds:
            made_of = " or ".join(kinds)
            others = [
                name
                for name, each in self._config.experiments.items()
                if name != BASELINE and self._suits(table, each)
            ]
            return (
                f"is a table of {made_of}, and the file {experiment.file} has {experiment.kind}",
                f"write {' or '.join(others)} in the place of {experiment.name!r}."
                if others
                else f"add an experiment of {made_of} with {' or '.join(table.analyses)} among its "
                "'analyses'; there is none here.",
            )
        names = " or ".join(self._lacking(table, experiment))
        return (
            f"is a table of the analysis {names}, which the experiment does not ask for",
            f"add {names} to its 'analyses'.",
        )

    def figure_inputs(self, figure: Figure, wildcards: Mapping[str, str]) -> dict[str, list[str]]:
        """The tables of a figure by name; an empty list for one that is not made."""
        experiment = self._config.experiments.get(wildcards.get("experiment", ""))
        found = {name: self._inputs(name, figure, experiment, wildcards) for name in figure.tables}
        if figure.control and experiment is not None:
            table = self._catalogue.tables[figure.control]
            found["control"] = [
                f"{table.path.format(**_place(control, draw, experiment))}.parquet"
                for control in self._config.controls(wildcards["model"], experiment)
                for draw in experiment.checkpoints_of(control)
            ]
        return found

    def figure_experiments(self, figure: Figure) -> list[str]:
        """The names of the experiments that have a figure."""
        places = (place.get("experiment") for place in self._figure_places(figure))
        return list(dict.fromkeys(name for name in places if name))

    def document_inputs(self, wildcards: Mapping[str, str]) -> dict[str, str]:
        """The tables that a text's document shows, by name.

        Raises
        ------
        TokentrailsError: if the experiment has none of them.
        """
        experiment = self._config.experiments[wildcards["experiment"]]
        shown = [table for table in self._catalogue.tables.values() if table.document]
        found = {
            table.name: f"{table.path.format(**wildcards)}.parquet"
            for table in shown
            if experiment.makes(table)
        }
        if not found:
            names = dict.fromkeys(name for table in shown for name in table.analyses)
            raise (self._config.where / "experiments" / experiment.name).error(
                f"{DOCUMENT.format(**wildcards)} shows what the analyses {', '.join(names)} find, "
                "and the experiment asks for none of them",
                f"add one to its 'analyses'; they are of {Kind.WHOLE}.",
            )
        return found

    def member_tables(self, table: Table, wildcards: Mapping[str, str]) -> list[str]:
        """A table of every training of the set of replicates that the wildcards name."""
        names = self._config.replicates[wildcards["model"]].names
        return [f"{table.path.format(**{**wildcards, 'model': name})}.parquet" for name in names]

    @cached_property
    def scaling_inputs(self) -> dict[str, list[str]]:
        """The tables that are compared over the sizes of models, by name, and those sizes."""
        runs = [
            run
            for run in self._config.runs()
            if run[1] == run[0].reference and not (run[0].control_of or run[-1].is_altered)
        ]
        scaled = [table for table in self._catalogue.tables.values() if table.scaled]
        sized = [run for run in runs if any(map(run[-1].makes, scaled))]

        def paths(table: Table, runs: Iterable[tuple[Model, str, Experiment]]) -> list[str]:
            places = (f"{table.path.format(**_place(*run))}.parquet" for run in runs)
            return list(dict.fromkeys(places))  # weights are the same for all experiments

        found = {}
        for table in scaled:
            found[table.name] = paths(table, (run for run in runs if run[-1].makes(table)))
        return found | {"parameters": paths(self._catalogue.tables["parameters"], sized)}

    def _asks(self, experiment: Experiment, table: Table, target: str | None) -> bool:
        """Whether an experiment makes a table, and that by an analysis of the target."""
        if not experiment.makes(table):
            return False
        analyses = set(table.analyses) & set(experiment.analyses)
        return target is None or any(
            self._catalogue.analyses[name].target == target for name in analyses
        )

    def _table_places(self, table: Table, target: str | None) -> Iterator[Place]:
        if table.scope is Scope.RUN:
            yield from (
                _place(*run) for run in self._config.runs() if self._asks(run[-1], table, target)
            )
        elif table.scope is Scope.ACROSS:
            for model, experiment in self._config.across(table):
                if self._asks(experiment, table, target):
                    yield _place(model, "all", experiment)
        elif table.scope is Scope.WEIGHTS and table.analyses:
            runs = (run for run in self._config.runs() if self._asks(run[-1], table, target))
            pairs = dict.fromkeys((model.name, checkpoint) for model, checkpoint, _ in runs)
            yield from ({"model": model, "checkpoint": name} for model, name in pairs)
        elif table.scope is Scope.MODEL and target is None:
            several = (model for model, *_ in self._config.runs() if len(model.checkpoints) > 1)
            yield from ({"model": name} for name in dict.fromkeys(m.name for m in several))
        elif table.scope is Scope.ALL and target in (None, "half_life"):
            yield from self._scaling_places()

    def _figure_places(self, figure: Figure) -> Iterator[Place]:
        if figure.scope is Scope.RUN:
            for run in self._config.runs():
                model, checkpoint, experiment = run
                if figure.reference_only and checkpoint != model.reference:
                    continue
                if self._config.draws(figure, experiment):
                    yield _place(*run)
        elif figure.scope is Scope.ACROSS:
            for each, experiment in self._config.across(self._catalogue.tables[figure.tables[0]]):
                compared = len(experiment.checkpoints_of(each)) > 1
                if compared or not figure.several_checkpoints:
                    yield _place(each, "all", experiment)
        elif figure.scope is Scope.MODELS:
            for experiment in self._config.experiments.values():
                if self._config.draws(figure, experiment):
                    yield {"experiment": experiment.name}
        elif figure.scope is Scope.TRAINING:
            trained = {model.name for model, *_ in self._config.runs() if model.training}
            yield from ({"model": name} for name in sorted(trained))
        elif len(self.scaling_inputs["parameters"]) > 1:  # one model says nothing of size
            yield from self._scaling_places()

    def _scaling_places(self) -> list[Place]:
        return [{}] if self.scaling_inputs["parameters"] else []

    def _inputs(
        self,
        name: str,
        figure: Figure,
        experiment: Experiment | None,
        wildcards: Mapping[str, str],
    ) -> list[str]:
        table = self._catalogue.tables[name]
        if table.scope is Scope.MODEL and wildcards["model"] in self._config.replicates:
            return self.member_tables(table, wildcards)
        if experiment is not None and name in figure.optional and not experiment.makes(table):
            return []
        if experiment and figure.scope is Scope.ACROSS and table.scope is Scope.RUN:
            model = self._config.models[wildcards["model"]]
            places = ({**wildcards, "checkpoint": n} for n in experiment.checkpoints_of(model))
            return [f"{table.path.format(**place)}.parquet" for place in places]
        if figure.scope is not Scope.MODELS or experiment is None:
            return [f"{table.path.format(**wildcards)}.parquet"]
        models = [self._config.models[name] for name in experiment.models]
        return [
            f"{table.path.format(**_place(model, model.reference, experiment))}.parquet"
            for model in models
        ]


def _any_of(patterns: Iterable[str]) -> str:
    """A pattern of any of these, and of nothing where there are none."""
    return f"(?:{'|'.join(patterns) or '(?!)'})"


def _has_senses(experiment: Experiment) -> bool:
    if experiment.table:
        return bool(experiment.table.sense)
    return all(prompt.groups.get("sense") is not None for prompt in experiment.prompts)


def _known(
    wildcards: Mapping[str, str], kind: str, known: Collection[str], *, owner: str = ""
) -> str:
    """The name of a kind in a job's wildcards, if it is a known one; empty where there is none.

    Parameters
    ----------
    owner: what the known names belong to.
    """
    name = wildcards.get(kind, "")
    if name and name not in known:
        names = list(dict.fromkeys(known))
        raise TokentrailsError(
            f"no {kind} {name!r}" + (f" of {owner}" if owner else ""),
            hint=near_name(name, names, f"there are {', '.join(names)}."),
        )
    return name


def _place(model: Model | Replicates, checkpoint: str, experiment: Experiment) -> Place:
    return {"model": model.name, "checkpoint": checkpoint, "experiment": experiment.name}
