"""Which job starts first of those that could: what people look at, and heavy ones at the end."""

from collections import defaultdict

import pytest
import workflow as wf


@pytest.fixture(scope="module")
def priorities(tmp_path_factory) -> dict[str, dict[str, int]]:
    """Of the plan of a configuration with every analysis, by rule and wildcards."""
    folder = wf.checkout(tmp_path_factory.mktemp("order") / "run")
    found = defaultdict(dict)
    for job, priority in wf.priorities(folder, "--configfile", "config/tour.yaml").items():
        found[job.rule][job.wildcards] = priority
    return found


def between(priorities, *rules) -> list[int]:
    return [value for rule in rules for value in priorities[rule].values()]


@pytest.mark.e2e
def test_what_is_seen_comes_before_tables_and_tables_before_runs_of_a_model(priorities):
    seen = between(priorities, *(rule for rule in priorities if rule.endswith("_figure")))
    tables = between(priorities, "identity", "context", "curves", "senses_tables", "training")
    runs = between(priorities, "tokens", "hidden_states", "head_tables", "evolution_tables")
    heavy = between(priorities, "neuron_table", "alignment_table")
    assert min(seen) > max(tables) and min(tables) > max(runs) and min(runs) > max(heavy)


@pytest.mark.e2e
def test_an_experiment_is_done_before_the_next_one_begins(priorities):
    states = priorities["hidden_states"]
    order = ["baseline", "polysemy", "drift", "senses", "natural", "perturbation", "vocabulary"]
    of_smollm2 = [states[f"smollm2-135m/main/{experiment}"] for experiment in order]
    assert of_smollm2 == sorted(of_smollm2, reverse=True)
    assert len(set(of_smollm2)) == len(order)
    assert states["minilm-l6/main/polysemy"] > states["smollm2-135m/main/drift"]
    assert priorities["model"]["smollm2-135m/main"] > priorities["model"]["nano/step0"]
