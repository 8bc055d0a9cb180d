"""Many recordings shared by the workers of a Ray cluster: all are done, whoever dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

import affetto
from affetto import collection, engine
from affetto.collection import Choice, Entry
from affetto.engine import Engine, compute, workers
from affetto.errors import RunError
from affetto.formats.folder import SETTINGS, ResultFolder
from affetto.timeline import Judgement

DEMO = Path(affetto.__file__).parent / "demo"
RECORDINGS = 150
RAY = Engine(kind="ray")
Run = Callable[..., "tuple[int, str, str]"]


def die_of_some() -> None:
    """In each worker, before it works: whoever opens such a file is gone at once, as by a fault in a library."""
    from affetto.audio import decoding

    stream = decoding.stream

    def deadly(path: Path, **options: object) -> Iterator[object]:
        if "deadly" in path.name:
            os.kill(os.getpid(), signal.SIGKILL)
        return stream(path, **options)

    decoding.stream = deadly


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no tests
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"worker_process_setup_hook": die_of_some},
    )
    yield
    ray.shutdown()


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    for number in range(RECORDINGS):
        os.link(shutil.copy(DEMO / "happy.flac", tmp_path), folder / f"{number:03}.flac")
    return folder


def results(folder: Path) -> dict[str, dict[str, object]]:
    """What JSON files there are, whole ones."""
    return {each.name: json.loads(each.read_text()) for each in folder.glob("*.json") if each.name != SETTINGS}


def kill_one_of_two(out: Path, killed: list[int]) -> None:
    """Kills a worker once both have written results."""
    while len(journals := sorted(out.glob(".affetto-sources-*.jsonl"))) < 2:  # a worker's name ends with its process
        time.sleep(0.005)
    done = len(results(out))
    os.kill(int(journals[0].stem.rpartition("-")[2]), signal.SIGKILL)
    killed.append(done)


@pytest.mark.heavy
@pytest.mark.usefixtures("cluster")
def test_a_killed_worker_loses_nothing(run: Run, tiny_model: Path, calls: Path, tmp_path: Path) -> None:
    out, killed = tmp_path / "out", list[int]()
    threading.Thread(target=kill_one_of_two, args=(out, killed), daemon=True).start()
    command = ("recognise", calls, "--output-dir", out, "--model", tiny_model, "--precision", "float32")
    code, _, err = run(*command, "--engine", "ray")
    assert code == 0
    assert f"{RECORDINGS} written to" in err
    assert len(killed) == 1
    assert killed[0] < RECORDINGS
    found = results(out)
    assert len(found) == RECORDINGS
    assert not list(out.glob(".affetto-sources-*"))
    code, _, err = run(*command, "--engine", "ray")
    assert code == 0
    assert f"{RECORDINGS} of {RECORDINGS} are in" in err
    assert run(*command[:3], tmp_path / "here", *command[4:])[0] == 0
    for name, here in results(tmp_path / "here").items():
        assert {**found[name], "probabilities": 0, "segments": 0} == {**here, "probabilities": 0, "segments": 0}
        assert found[name]["probabilities"] == pytest.approx(here["probabilities"], abs=2e-4)


@pytest.mark.heavy
@pytest.mark.usefixtures("cluster")
def test_a_recording_that_kills_whoever_opens_it_is_one_failure(
    run: Run, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_RETRIES", 0)
    calls = tmp_path / "calls"
    shutil.copytree(DEMO, calls)
    shutil.copy(DEMO / "happy.flac", calls / "deadly.flac")
    (calls / "broken.wav").write_text("no sound")
    monkeypatch.setattr(collection, "_SHARES", 0.5)  # all in one unit
    out = tmp_path / "out"
    code, _, err = run("recognise", calls, "--output-dir", out, "--model", tiny_model, "--engine", "ray")
    assert code == 1
    assert set(results(out)) == {"angry.json", "happy.json", "neutral.json", "sad.json"}
    assert "4 written to" in err
    first, second = [line for line in err.splitlines() if "calls/" in line]
    assert "broken.wav: cannot be read as sound" in first
    assert "deadly.flac: a worker died" in second


@pytest.mark.heavy
@pytest.mark.usefixtures("cluster")
def test_what_a_worker_raises_comes_through_as_it_is() -> None:
    with workers(RAY, 3) as those:
        assert sorted(compute(int, ["1", "2", "3"], those)) == [1, 2, 3]
        with pytest.raises(ValueError, match="invalid literal") as raised:
            list(compute(int, ["none"], those))
        assert type(raised.value) is ValueError


@pytest.mark.heavy
@pytest.mark.usefixtures("cluster")
def test_a_unit_that_no_worker_survives_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_RETRIES", 0)
    with workers(RAY, 1) as those:
        with pytest.raises(RunError, match=r"a worker died .*; run the same command again"):
            list(compute(os._exit, [1], those))
        assert list(compute(os._exit, [1], those, lambda unit, death: (unit, type(death)))) == [(1, RunError)]


def test_a_machine_with_another_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    choice = Choice(str(tiny_model), judgement=Judgement())
    folder = ResultFolder(tmp_path / "out", ["json"], choice.open().settings())
    folder.open()
    unit = collection._unit(choice, [0], [Entry(DEMO / "sad.flac", PurePath("sad"), DEMO / "sad.flac")], folder)
    assert [(each.place, each.error) for each in collection._do(unit)] == [(0, None)]
    with pytest.raises(RunError, match="has another model"):
        collection._do(unit._replace(choice=replace(choice, judgement=Judgement(sure=0.9))))


def test_workers_stand_wherever_they_like(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(DEMO / "sad.flac", tmp_path)
    monkeypatch.chdir(tmp_path)
    choice = Choice(str(tiny_model), judgement=Judgement())
    folder = ResultFolder(Path("out"), ["json"], choice.open().settings())
    folder.open()
    unit = collection._unit(choice, [0], [Entry(Path("sad.flac"), PurePath("sad"), Path("sad.flac"))], folder)
    monkeypatch.chdir("/")
    collection._do(unit)
    assert results(tmp_path / "out")["sad.json"]["file"] == "sad.flac"


@given(sizes=st.lists(st.integers(0, 30_000_000), max_size=200), jobs=st.integers(1, 8))
def test_each_recording_is_in_one_share(sizes: list[int], jobs: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sizes")
    entries = []
    for number, size in enumerate(sizes):
        path = folder / str(number)
        path.touch()
        os.truncate(path, size)
        entries.append(Entry(path, PurePath(path.name), path))
    shares = collection._shares(entries, jobs)
    assert sorted(place for share in shares for place in share) == list(range(len(sizes)))
    for share in shares:
        size = sum(sizes[place] for place in share)
        assert len(share) <= 64
        assert len(share) == 1 or size <= min(20_000_000, sum(sizes) / (4 * jobs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["call.wav"], "--engine: workers write files; name a folder for them with --output-dir"),
        (["-", "--output-dir", "out"], "-: workers read files"),
    ],
)
def test_workers_need_files(run: Run, arguments: list[str], message: str) -> None:
    code, _, err = run("recognise", *arguments, "--engine", "ray")
    assert code == 2
    assert message in err


def test_a_cluster_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda *_, **__: sys.exit(15))  # as it does after two minutes
    with pytest.raises(RunError, match="head:6379: no Ray cluster answers there"), workers(RAY, 1):
        pass
