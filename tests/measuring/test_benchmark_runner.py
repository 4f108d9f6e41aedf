"""What the benchmarks promise: own memory for each job, failures that are told, result files that are whole."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import jobs as all_jobs
from benchmarks import runner
from benchmarks.records import Record, flat, percentile, rate, spread
from benchmarks.runner import Job, failed, run, write_results

PRINTS = "import json,sys; print('hello'); print(json.dumps({'name': 'a', 'value': 1.5, 'unit': 's'})); print('{\"name\": 1}')"


def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, limit: int = 60) -> Job:
    (tmp_path / "measured.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    return Job("try", "measured", limit=limit, about={"items": 7})


def test_records_are_read_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    first, *rest = run(job(tmp_path, monkeypatch, PRINTS))
    assert first == {"name": "a", "value": 1.5, "unit": "s", "items": 7}
    assert [record["name"] for record in rest] == ["peak_rss_gb", "job_s"]
    assert not any(map(failed, [first, *rest]))
    assert capfd.readouterr().err == 'hello\n{"name": 1}\n'


def test_peak_memory_is_the_jobs_own(tmp_path: Path) -> None:
    """Asked from a small process, as a child's count begins with its parent's size and pytest's is large."""
    (tmp_path / "filling.py").write_text("import sys; filled = bytearray(int(sys.argv[1])); filled[::4096] = b'x' * len(filled[::4096])")
    asks = (
        "import json, pathlib; from benchmarks import runner; "
        f"runner.ROOT = pathlib.Path({str(tmp_path)!r}); "
        "jobs = [runner.Job('fill', 'filling', (size,)) for size in ('1', '300000000', '1')]; "
        "print(json.dumps([record for job in jobs for record in runner.run(job)]))"
    )
    root = Path(command.__file__).parents[1]
    said = subprocess.run([sys.executable, "-c", asks], cwd=root, capture_output=True, text=True, check=True).stdout
    peaks = [record["value"] for record in json.loads(said) if record["name"] == "peak_rss_gb"]
    assert peaks[1] - peaks[0] == pytest.approx(0.3, abs=0.05)
    assert peaks[2] == pytest.approx(peaks[0], abs=0.02)


def test_a_failing_job_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = next(iter(run(job(tmp_path, monkeypatch, "raise SystemExit(3)"))))
    assert failed(told)
    assert "exit code 3" in told["reason"]


def test_a_job_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, _, seconds = run(job(tmp_path, monkeypatch, "import time; time.sleep(60)", limit=1))
    assert failed(told)
    assert "not done after 1 s" in told["reason"]
    assert seconds["value"] < 10


def test_ending_the_run_ends_the_measurement(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import os, time, pathlib; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(120)")
    asks = (
        "import pathlib, signal; from benchmarks import __main__ as command, runner; "
        f"runner.ROOT = pathlib.Path({str(tmp_path)!r}); "
        "signal.signal(signal.SIGTERM, command.stop); command.measured([runner.Job('endless', 'endless')])"
    )
    parent = subprocess.Popen([sys.executable, "-c", asks], cwd=Path(command.__file__).parents[1], start_new_session=True)
    written = tmp_path / "pid"
    for _ in range(200):
        if written.exists() and written.read_text():
            break
        time.sleep(0.05)
    parent.terminate()
    assert parent.wait(timeout=20) == 128 + signal.SIGTERM
    assert not Path("/proc", written.read_text()).exists()


def test_a_theme_goes_on_after_a_failure_and_keeps_whole_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = job(tmp_path, monkeypatch, PRINTS)
    made = [Job("bad", "no_such_module"), good]
    monkeypatch.setattr(command, "THEMES", {"core": (lambda sizes: made, (1,))})
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "DATA", tmp_path / "data")
    assert command.main(["core"]) == 1
    about, *records = [json.loads(line) for line in (tmp_path / "results" / "core.jsonl").read_text().splitlines()]
    assert {"theme", "processor", "cores", "memory_gb", "python", "versions", "commit"} <= about.keys()
    assert [record["name"] for record in records if record["name"] not in ("peak_rss_gb", "job_s")] == ["bad_failed", "a"]
    assert command.main(["core", "--items", "5"]) == 1
    assert not (tmp_path / "data").exists()


def test_results_are_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "core.jsonl"
    write_results(path, [{"name": "a"}])
    with pytest.raises(TypeError):
        write_results(path, [{"name": "b"}, {"name": object()}])
    assert path.read_text() == '{"name": "a"}\n'


def test_an_unknown_theme_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["speed"])
    assert "there is no theme speed; allowed are core, search" in capsys.readouterr().err


def test_every_job_names_a_module_and_none_its_name_twice() -> None:
    root = Path(command.__file__).parents[1]
    for make, sizes in all_jobs.THEMES.values():
        made = make(sizes)
        assert len({one.name for one in made}) == len(made)
        assert all((root / (one.module.replace(".", "/") + ".py")).exists() and one.python == sys.executable for one in made)


def test_records_say_best_and_spread() -> None:
    record = flat(rate("users_per_s", 10, [2.0, 1.0, 5.0], "users/s", items=3))
    assert record == {
        "name": "users_per_s", "value": 10.0, "unit": "users/s", "items": 3, "minimum": 2.0, "median": 5.0, "maximum": 10.0, "repeats": 3
    }  # fmt: skip
    assert flat(Record("a", None, "s", {"reason": "no"})) == {"name": "a", "value": None, "unit": "s", "reason": "no"}
    assert spread([3.0, 1.0, 2.0])["median"] == 2.0
    assert [percentile(range(1, 101), share) for share in (0.5, 0.99)] == [51, 100]
