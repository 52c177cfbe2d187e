"""Runs of toy stages: reuse, what reruns and why, replicas, damage, locks."""

import dataclasses
import fcntl
import json
import os
import sys
from pathlib import Path

import pytest

from puna.base.errors import ArtifactError, ConfigError, DataError, DiskFullError, LockedError
from puna.lineage import Recipe, Stage, run
from puna.lineage.runner import plan, rebuild_report
from puna.lineage.store import Store, collect_garbage, read_manifest

Stages = dict[str, Stage]


def _recipe(settings: dict[str, object] | None = None) -> Recipe:
    values = {
        "name": "toy",
        "stages": {
            "write": {"kind": "write", "config": {"text": "ab"}},
            "join": {"kind": "join", "inputs": {"parts": "write"}},
        },
    }
    return Recipe.from_values(values, settings)


def test_a_run_makes_artifacts_links_and_report(stages: Stages, tmp_path: Path) -> None:
    result = run(_recipe(), stages, tmp_path / "run")
    assert result.ran == ["write", "join"]
    assert (tmp_path / "run/join/joined.txt").read_text() == "ab" + "abab" + "ababab" + "!"
    assert (tmp_path / "run/write").is_symlink()
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert [stage["name"] for stage in report["stages"]] == ["write", "join"]
    assert report["scores"][0]["task"] == "length"
    assert not list((tmp_path / "run/.partial").glob("*/"))


def test_a_second_run_recomputes_nothing(stages: Stages, tmp_path: Path) -> None:
    run(_recipe(), stages, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/artifacts").rglob("*")}
    assert run(_recipe(), stages, tmp_path / "run").ran == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run/artifacts").rglob("*")} == before


def test_a_setting_reruns_its_stage_and_what_follows(stages: Stages, tmp_path: Path) -> None:
    run(_recipe(), stages, tmp_path / "run")
    assert run(_recipe({"join.upper": True}), stages, tmp_path / "run").ran == ["join"]
    assert run(_recipe({"write.text": "x"}), stages, tmp_path / "run").ran == ["write", "join"]
    assert run(_recipe(), stages, tmp_path / "run").ran == []  # the first artifacts are still there


def test_hardware_settings_rerun_nothing(stages: Stages, tmp_path: Path) -> None:
    run(_recipe(), stages, tmp_path / "run")
    assert run(_recipe({"join.workers": 7, "mesh.threads": 1}), stages, tmp_path / "run").ran == []


def test_a_changed_line_reruns_its_stage_and_what_follows(stages: Stages, toy: Path, tmp_path: Path) -> None:
    run(_recipe(), stages, tmp_path / "run")
    (toy / "shared.py").write_text('SUFFIX = "?"\n')  # imported by join alone
    planned = plan(_recipe(), stages, tmp_path / "run")
    assert [one.reused for one in planned] == [True, False]
    assert planned[1].reasons == ["source toystages.shared changed"]
    (toy / "write.py").write_text((toy / "write.py").read_text() + "# a line\n")
    assert [one.reused for one in plan(_recipe(), stages, tmp_path / "run")] == [False, False]


def test_what_a_setting_hands_to_a_stage_counts_as_its_source_there_alone(
    stages: Stages, toy: Path, tmp_path: Path
) -> None:
    (toy / "handed.py").write_text("def make():\n    return 'handed'\n")
    source = (
        (toy / "join.py")
        .read_text()
        .replace("upper: bool = False", "upper: bool = False\n    maker: str | None = None")
    )
    source = source.replace("(config, inputs, out):", "(config, inputs, out, maker=None):")
    (toy / "join.py").write_text(source.replace("+ SUFFIX)", "+ SUFFIX + (maker() if maker else ''))"))
    sys.modules.pop("toystages.join", None)
    handed = {**stages, "join": dataclasses.replace(stages["join"], handed={"maker": "toystages.handed"})}
    run(_recipe(), handed, tmp_path / "run")
    assert (tmp_path / "run/join/joined.txt").read_text().endswith("ab!")
    run(_recipe({"join.maker": "yes"}), handed, tmp_path / "run")
    assert (tmp_path / "run/join/joined.txt").read_text().endswith("ab!handed")
    (toy / "handed.py").write_text("def make():\n    return 'other'\n")
    planned = plan(_recipe({"join.maker": "yes"}), handed, tmp_path / "run")
    assert planned[1].reasons == ["source toystages.handed changed"]
    assert [one.reused for one in plan(_recipe(), handed, tmp_path / "run")] == [True, True]


def test_seed_reruns_seeded_stages_only_and_replicas_share_the_rest(stages: Stages, tmp_path: Path) -> None:
    ran = [run(_recipe({"seed": seed}), stages, tmp_path / "run", replica=True).ran for seed in (0, 1)]
    assert ran == [["write", "join"], ["join"]]
    assert (tmp_path / "run/seed-0/write").resolve() == (tmp_path / "run/seed-1/write").resolve()
    assert (tmp_path / "run/seed-0/join").resolve() != (tmp_path / "run/seed-1/join").resolve()


def test_damage_is_found_and_named(stages: Stages, tmp_path: Path) -> None:
    run(_recipe(), stages, tmp_path / "run")
    victim = (tmp_path / "run/write/part-1.txt").resolve()
    victim.write_text("abaX")
    with pytest.raises(ArtifactError, match=r"part-1\.txt has other bytes"):
        run(_recipe(), stages, tmp_path / "run")
    victim.unlink()
    with pytest.raises(ArtifactError, match=r"part-1\.txt is missing"):
        run(_recipe(), stages, tmp_path / "run")


def test_unknown_format_version_is_refused(stages: Stages, tmp_path: Path) -> None:
    run(_recipe(), stages, tmp_path / "run")
    path = tmp_path / "run/join/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))
    with pytest.raises(ArtifactError, match="expected format_version 1, came 99"):
        read_manifest(tmp_path / "run/join")


def test_a_second_writer_is_refused(stages: Stages, tmp_path: Path) -> None:
    planned = plan(_recipe(), stages, tmp_path / "run")
    partials = tmp_path / "run/.partial"
    partials.mkdir(parents=True)
    lock = partials / f"write-{planned[0].fingerprint[:12]}.lock"
    lock.write_text("process 123 on elsewhere")
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(LockedError, match="process 123 on elsewhere is writing write"):
            run(_recipe(), stages, tmp_path / "run")
    finally:
        os.close(descriptor)
    assert run(_recipe(), stages, tmp_path / "run").ran == ["write", "join"]


def test_full_disk_is_one_clear_error_and_keeps_finished_units(
    stages: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, []

    def full_after_two(source: Path, target: Path) -> None:
        if "files" in str(target) and len(calls) == 2:
            raise OSError(28, "No space left on device")
        calls.append(target) if "files" in str(target) else None
        real(source, target)

    monkeypatch.setattr(os, "replace", full_after_two)
    with pytest.raises(DiskFullError, match="disk of .* is full"):
        run(_recipe(), stages, tmp_path / "run")
    monkeypatch.undo()
    files = list((tmp_path / "run/.partial").glob("write-*/files/*"))
    assert sorted(path.name for path in files) == ["part-0.txt", "part-1.txt"]
    assert run(_recipe(), stages, tmp_path / "run").ran == ["write", "join"]


def test_bad_recipes_say_what_was_meant(stages: Stages, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'join\.uper: unknown setting; did you mean "upper"'):
        plan(_recipe({"join.uper": True}), stages, tmp_path)
    with pytest.raises(ConfigError, match="write.units: expected a valid integer"):
        plan(_recipe({"write.units": "many"}), stages, tmp_path)
    with pytest.raises(ConfigError, match=r'no kind "jion"; did you mean "join"'):
        plan(_recipe({"join.kind": "jion"}), stages, tmp_path)
    with pytest.raises(DataError, match="expected a file or folder at nowhere"):
        plan(_recipe({"join.inputs": {"parts": "nowhere"}}), stages, tmp_path)
    assert not (tmp_path / "artifacts").exists()


def test_gc_removes_what_nothing_refers_to(stages: Stages, tmp_path: Path) -> None:
    root = tmp_path / "run"
    run(_recipe(), stages, root)
    old = (root / "join").resolve()
    run(_recipe({"join.upper": True}), stages, root)
    found = collect_garbage(root, remove=False)
    assert [path.resolve() for path, _ in found] == [old] and old.exists()
    collect_garbage(root, remove=True)
    assert not old.exists()
    assert run(_recipe({"join.upper": True}), stages, root).ran == []


def test_rebuilt_report_equals_the_run_s(stages: Stages, tmp_path: Path) -> None:
    made = run(_recipe(), stages, tmp_path / "run").report
    rebuilt, _ = rebuild_report(tmp_path / "run")
    assert rebuilt["scores"] == made["scores"] and rebuilt["stages"] == made["stages"]


def test_partial_folder_left_after_the_rename_is_swept(stages: Stages, tmp_path: Path) -> None:
    run(_recipe(), stages, tmp_path / "run")
    one = plan(_recipe(), stages, tmp_path / "run")[0]
    left = Store(tmp_path / "run").partial("write", one.fingerprint)
    left.mkdir(parents=True)
    assert run(_recipe(), stages, tmp_path / "run").ran == []
    assert not left.exists()


def test_two_holders_of_one_lock_are_one_too_many(tmp_path: Path) -> None:
    store, again = Store(tmp_path), Store(tmp_path)
    with store.lock("write", "0" * 64):
        with pytest.raises(LockedError, match="is writing write"):
            again.lock("write", "0" * 64).__enter__()
        with again.lock("join", "0" * 64):
            pass
    with again.lock("write", "0" * 64):
        pass
