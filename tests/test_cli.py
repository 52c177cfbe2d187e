"""The command line as a person meets it: one clear line and status 2 for bad input, help with examples."""

import gzip
import json
import re
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from puna.cli import app, main
from puna.lineage import Recipe
from puna.lineage.runner import RunResult
from tests.recipes.test_production import BROUGHT
from tests.recipes.test_production import NAMES as PRODUCTION
from tests.small import STAGES, WORLD


def _puna(*arguments: object) -> int:
    """The exit status of `puna ARGUMENTS`."""
    before = sys.argv
    sys.argv = ["puna", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("puna: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of two stages in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    stages = {"world": STAGES["world"], "curate": {"kind": "curate", "inputs": {"crawl": "${crawl}"}}}
    values = {"name": "small", "seed": 7, "variables": {"crawl": "world/crawl"}, "mesh": {"threads": 1, "workers": 1}}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**values, "stages": stages}, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "recipes/nono.yaml"], "expected a YAML file at recipes/nono.yaml, found none"),
        (["chaos", "small.yaml", "--kinds", "kil"], 'nan, truncate, disk, came "kil"; did you mean "kill"'),
        (["chaos", "small.yaml"], "expected a stage of kind pretrain, came world, curate"),
        (
            ["run", "small.yaml", "--set", "curate.langages=[en]"],
            'curate.langages: unknown setting; did you mean "languages"?',
        ),
        (["run", "small.yaml", "--set", "worl.num_people=3"], 'no stage or variable "worl"; did you mean "world'),
        (["run", "small.yaml", "--set", "world.num_people=few"], "world.num_people: expected a valid integer"),
        (["run", "small.yaml", "--until", "curat"], 'no stage "curat"; did you mean "curate"'),
        (["run", "small.yaml", "--seeds", "a,b"], "--seeds: expected numbers such as 0,1,2"),
        (["run", "small.yaml", "--crawl", "missing.warc"], "expected a file or folder at missing.warc, found none"),
        (["status", "runs/none"], "expected a run folder at runs/none, found none"),
        (["compare", "runs/none"], "expected a finished run at runs/none, found no report.json"),
        (["chat", "runs/none"], "expected a model folder at runs/none"),
    ],
)
def test_bad_input_is_one_line_status_2_and_nothing_written(
    recipe: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert _puna(*arguments) == 2
    assert message in _one_line(capsys)
    assert sorted(path.name for path in recipe.parent.iterdir()) == ["small.yaml"]


def test_an_empty_crawl_is_told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe.parent / "empty").mkdir()
    assert _puna("run", recipe, "--crawl", recipe.parent / "empty") == 2
    assert "puna: expected" in _one_line(capsys)
    assert (
        not list((recipe.parent / "runs").rglob("manifest.json")) or not (recipe.parent / "runs/small/curate").exists()
    )


def test_truncated_warc_keeps_the_good_records_and_counts_the_bad(recipe: Path) -> None:
    assert _puna("run", recipe, "--until", "world") == 0
    whole = next(Path("runs/small/world/crawl").glob("*.warc.gz")).read_bytes()
    Path("cut.warc.gz").write_bytes(whole[: len(whole) * 2 // 3])
    assert _puna("run", recipe, "--crawl", "cut.warc.gz") == 0
    report = json.loads(Path("runs/small/curate/report.json").read_text())
    bad = {
        name: number
        for name, number in (report["rejects"] | report["skipped"]).items()
        if "read" in name or "trunc" in name
    }
    assert sum(bad.values()) >= 1, report
    documents = sum(1 for line in gzip.decompress(whole).split(b"\r\n") if line == b"WARC-Type: response")
    assert 0 < report["funnel"][0]["documents"] < documents


def test_invalid_utf8_in_jsonl_is_counted_and_the_rest_kept(recipe: Path) -> None:
    assert _puna("run", recipe, "--until", "world") == 0
    truth = [json.loads(line) for line in Path("runs/small/world/truth.jsonl").read_text().split("\n") if line]
    texts = [row["text"] for row in truth if row["keep"] and row["kind"] == "article"][:3]
    lines = [json.dumps({"text": text}).encode() for text in texts]
    Path("mine.jsonl").write_bytes(b"\n".join([lines[0], b'{"text": "\xff\xfe broken"}', *lines[1:]]))
    assert _puna("run", recipe, "--crawl", "mine.jsonl") == 0
    report = json.loads(Path("runs/small/curate/report.json").read_text())
    assert report["rejects"]["read:invalid UTF-8"] == 1 and report["kept"] == 3


def test_run_status_explain_report_gc_compare(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("run", recipe, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in made["stages"]] == ["world", "curate"]
    assert _puna("run", recipe, "--explain", "--json", "--set", "curate.languages=[en]") == 0
    explained = json.loads(capsys.readouterr().out)
    assert [row["does"] for row in explained] == ["reuse", "run"] and "languages" in explained[1]["why"][0]
    assert _puna("status", "runs/small", "--json") == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["done", "done"]
    assert _puna("report", "runs/small") == 0
    assert "Report: runs/small/report.html" in capsys.readouterr().out
    assert _puna("gc", "runs/small") == 0
    assert "Unused: 0 folders" in capsys.readouterr().out
    assert _puna("compare", "runs/small", "runs/small") == 0


def test_tokenizer_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from puna.model import Llama, LlamaConfig, load_model, save_model
    from puna.tokenizer import Tokenizer

    monkeypatch.chdir(tmp_path)
    Path("en.txt").write_text("the mill stands by the river\nthe miller sells flour\n" * 40)
    Path("zh.txt").write_text("村里的面包很好吃\n面包师在村里卖面包\n" * 40)
    assert _puna("tokenizer", "train", "en.txt", "--out", "t", "--vocab-size", 290, "--num-special", 16) == 0
    old = Tokenizer.load("t")
    assert old.vocab_size == 290 and "290 tokens, 16 of them special" in capsys.readouterr().out
    assert _puna("tokenizer", "encode", "t", "the mill 村") == 0
    printed = capsys.readouterr().out
    assert printed.split() == [str(one) for one in old.encode("the mill 村")]
    assert _puna("tokenizer", "decode", "t", *printed.split()) == 0
    assert capsys.readouterr().out == "the mill 村\n"

    save_model(Llama(LlamaConfig(dim=16, layers=1, heads=2, kv_heads=1, ffn_dim=32, vocab_size=290)), old, "m")
    expand = ("tokenizer", "expand", "m", "--text", "zh=zh.txt", "--num-tokens", 20, "--out")
    assert _puna(*expand, "grown", "--model", "m") == 0
    out = capsys.readouterr().out
    before, after = map(float, re.findall(r"character: ([\d.]+) -> ([\d.]+) on lines kept out of training", out)[0])
    assert after < before and "Scripts: Han   Tokens: 290 -> 310" in out
    grown, model = Tokenizer.load("grown"), load_model("grown")
    assert model.config.vocab_size == grown.vocab_size == 310
    assert (model.embedding.weight[grown.eot_id] == load_model("m").embedding.weight[old.eot_id]).all()
    assert json.loads(Path("grown/config.json").read_text())["bos_token_id"] == grown.bos_id == old.bos_id + 20
    assert _puna(*expand, "t2") == 0 and "Tokenizer: t2" in capsys.readouterr().out

    texts = ("--data", "en=en.txt", "--data", "zh=zh.txt")
    assert _puna("tokenizer", "measure", "t", "grown", *texts, "--json", "--plot", "m.svg") == 0
    rows = {row["language"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["en"]["tokens"]["t"] == rows["en"]["tokens"]["grown"] == len(old.encode(Path("en.txt").read_text()))
    assert rows["zh"]["chars_per_token"]["t"] < rows["zh"]["chars_per_token"]["grown"]
    assert Path("m.svg").read_text().startswith("<svg")
    assert _puna("tokenizer", "measure", "t", "grown", *texts) == 0
    assert "characters (bytes) a token" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "t", "9999"], "expected token ids, numbers with blanks between: expected ids below"),
        (["decode", "t", "x"], "expected token ids, numbers with blanks between"),
        (["train", "en.txt", "--out", "o", "--vocab-size", "99"], "tokenizer train.vocab_size: expected greater than"),
        (["measure", "t", "--data", "none.txt"], "expected a text at none.txt"),
        (
            ["measure", "en.txt", "--data", "en.txt", "--plot", "x.png"],
            "--plot: expected a file named .svg, came x.png",
        ),
        (["measure", "none", "--data", "en.txt"], "expected a tokenizer at none"),
        (
            ["expand", "t", "--text", "en.txt", "--num-tokens", "5", "--out", "o"],
            "new tokens of Latin, came enough for 0",
        ),
        (
            ["expand", "t", "--text", "zh.txt", "--num-tokens", "1", "--out", "o", "--model", "m"],
            "tokenizer's 272 tokens",
        ),
    ],
)
def test_tokenizer_verbs_say_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    from puna.model import Llama, LlamaConfig, save_model
    from puna.tokenizer import Tokenizer
    from puna.tokenizer.bpe import special_ids, split_pattern

    monkeypatch.chdir(tmp_path)
    tokenizer = Tokenizer({bytes([byte]): byte for byte in range(256)}, special_ids(256, 16), split_pattern())
    tokenizer.save("t")
    save_model(Llama(LlamaConfig(dim=16, layers=1, heads=2, kv_heads=1, ffn_dim=32, vocab_size=300)), tokenizer, "m")
    Path("en.txt").write_text("the mill")
    Path("zh.txt").write_text("村里村里村里")
    assert _puna("tokenizer", *arguments) == 2
    assert message in _one_line(capsys)
    assert not Path("o").exists()


def test_every_verb_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    groups = {group.name: group.typer_instance for group in app.registered_groups if group.typer_instance}
    commands = [(c.callback.__name__, c) for c in app.registered_commands if c.callback]
    commands += [
        (f"{name} {c.callback.__name__}", c) for name, g in groups.items() for c in g.registered_commands if c.callback
    ]
    assert len(commands) >= 18
    for name, command in commands:
        assert re.search(r"Example: puna " + name, command.callback.__doc__ or ""), name
        assert _puna(*name.split(), "--help") == 0
    assert "Example" in capsys.readouterr().out


LAP = """
name: lap
rounds: 2
stages:
  pretrain: {kind: pretrain}
  sft: {kind: sft, inputs: {model: pretrain}}
  reward: {kind: reward, inputs: {model: pretrain}}
  dpo: {kind: dpo, inputs: {model: sft}}
  ppo: {kind: ppo, inputs: {model: dpo, reward: reward}}
  round:
    carry: {model: {first: ppo, then: keep}}
    stages:
      dpo: {kind: dpo, inputs: {model: round.model}}
      keep: {kind: keep, inputs: {before: round.model, after: dpo}}
  export: {kind: export, inputs: {model: round.model}}
"""


@pytest.mark.parametrize(
    ("arguments", "last", "model"),
    [
        (["pretrain"], "pretrain", "runs/lap/pretrain"),
        (["sft"], "sft", "runs/lap/sft"),
        (["reward"], "reward", "runs/lap/reward"),
        (["dpo"], "dpo", "runs/lap/dpo"),  # the one before the rounds
        (["ppo", "--out", "mine"], "ppo", "mine/ppo"),
        (["rounds"], "round2.keep", "runs/lap/round2.keep"),
        (["rounds", "--set", "rounds=1"], "round1.keep", "runs/lap/round1.keep"),
    ],
)
def test_verbs_run_a_recipe_up_to_their_stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    last: str,
    model: str,
) -> None:
    ran: list[str] = []

    def fake(recipe: Recipe, folder: Path, replica: bool) -> RunResult:
        ran.extend(recipe.stages)
        return RunResult(folder, [], {}, folder / "report.html", ran)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("puna.cli.recipes.run_one", fake)
    Path("lap.yaml").write_text(LAP)
    assert _puna(arguments[0], "lap.yaml", *arguments[1:]) == 0
    assert ran[-1] == last and capsys.readouterr().out.startswith(f"Model: {model}   Report: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ppo", "small.yaml"], "small.yaml: expected a stage of kind ppo, came world, curate"),
        (["rounds", "small.yaml"], "small.yaml: expected a block of rounds, came none or no rounds"),
    ],
)
def test_verbs_say_what_a_recipe_lacks(
    recipe: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert _puna(*arguments) == 2
    assert message in _one_line(capsys)


def test_schema_knows_kinds_and_their_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert _puna("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert "sft" in schema["$defs"]["StageSpec"]["properties"]["kind"]["enum"]
    assert "num_people" in schema["$defs"]["config of world"]["properties"]
    assert set(WORLD) <= set(schema["$defs"]["config of world"]["properties"])


def test_recipes_of_the_house_are_valid(shared_data: Path, tmp_path: Path) -> None:
    from puna.lineage import Recipe
    from puna.lineage.runner import plan
    from puna.stages import STAGES as KINDS

    root = Path(__file__).resolve().parents[1]
    (tmp_path / "brought").write_text("{}")
    brought = dict.fromkeys(BROUGHT, str(tmp_path / "brought"))
    for path in sorted((root / "recipes").rglob("*.yaml")):
        settings = {"data": str(shared_data)} if "real" in path.stem else brought if path.stem in PRODUCTION else {}
        assert plan(Recipe.load(path, settings), KINDS, root / "runs" / "none")


def test_curate_is_asked_for_a_sweep_and_for_a_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = {
        f"page-{i}.txt": " ".join(f"Baker {i} of village {j} sold the bread to you." for j in range(12))
        for i in range(3)
    }
    (tmp_path / "pages").mkdir()
    for name, text in {**pages, "short.txt": "The baker of the village."}.items():
        (tmp_path / "pages" / name).write_text(text)
    (tmp_path / "rules.yaml").write_text(
        "rules: [gopher_quality]\nlanguages: []\nheldout_fraction: 0\nheldout_min: 0\n"
    )
    run = ["curate", "--out", str(tmp_path / "run")]
    again = [*run, str(tmp_path / "pages"), "--rules", str(tmp_path / "rules.yaml"), "--set", "near_duplicates=false"]
    assert _puna(*again) == 0
    capsys.readouterr()
    assert _puna(*run, "--sweep", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["setting"], row["documents"], row["kept_without"]["words"]) == ("min_words", 1, 5)
    assert _puna(*run, "--sweep") == 0
    assert "min_words >= 50" in capsys.readouterr().out
    (reject,) = [
        one for path in tmp_path.glob("run/curate/rejects/*.parquet") for one in pq.read_table(path).to_pylist()
    ]
    assert _puna(*run, "--why", reject["id"], "--json") == 0
    story = json.loads(capsys.readouterr().out)
    assert story["rule"] == "gopher_quality:too few words" and story["checks"][0]["failed"]
    assert _puna(*run, "--why", reject["id"]) == 0
    assert "dropped by gopher_quality:too few words" in capsys.readouterr().out
    assert _puna(*run) == 2
    assert "expected files or folders to curate, or --sweep, --why ID or --rejects RULE" in capsys.readouterr().err
    assert _puna(*run, "--rejects", "gopher") == 0
    assert f"{reject['id']} pages" in capsys.readouterr().out
