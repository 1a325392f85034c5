"""Outputs are written whole or not at all."""

import os
import subprocess
import sys

import pytest

from tljax import files
from tljax.errors import InputError
from tljax.files import check_out, read_regular, replacing, write_json, write_text


def test_replacing_a_file(tmp_path):
    out = tmp_path / "deep" / "a.txt"
    with replacing(out) as part:
        part.write_text("new")
        assert not out.exists()
    assert out.read_text() == "new"
    assert os.listdir(out.parent) == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    out = tmp_path / "a.txt"
    out.write_text("old")

    def fill_the_disk():
        with replacing(out) as part:
            part.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert out.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_replacing_a_folder(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "old").touch()
    with replacing(out) as part:
        part.mkdir()
        (part / "new").touch()
    assert os.listdir(out) == ["new"]
    assert os.listdir(tmp_path) == ["run"]


def test_a_text_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    out = tmp_path / "a.txt"
    write_text(out, "\udcff ä\n")
    assert out.read_bytes() == b"\\udcff \xc3\xa4\n"
    write_json(tmp_path / "a.json", {"ä": [1]})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "\xc3\xa4": [\n    1\n  ]\n}\n'

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    for write, path in ((write_text, out), (write_json, tmp_path / "a.json")):
        before = path.read_bytes()
        with pytest.raises(OSError, match="No space"):
            write(path, "new")
        assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.txt"]


WITHOUT = """
import os, sys
sys.modules["fcntl"] = None
from tljax.files import read_regular
from tljax.transfer.run_folder import run_folder
with run_folder(sys.argv[1], overwrite=False) as folder:
    (folder / "config.json").write_text("{}")
del os.O_NONBLOCK  # not before: Python's own shutil asks for it where the system is not Windows
assert read_regular(sys.argv[1] + "/config.json", most=9) == b"{}"
"""


def test_what_windows_lacks_is_not_needed(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path / "run")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == ["run"]


def test_read_regular(tmp_path):
    (tmp_path / "a").write_bytes(b"12")
    assert read_regular(tmp_path / "a", most=2) == b"12"
    with pytest.raises(OSError, match="larger"):
        read_regular(tmp_path / "a", most=1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read_regular(tmp_path / "pipe", most=2)


def test_check_out(tmp_path):
    (tmp_path / "there.csv").touch()
    with pytest.raises(InputError, match="--overwrite"):
        check_out(tmp_path / "there.csv", overwrite=False)
    assert check_out(tmp_path / "there.csv", overwrite=True).name == "there.csv"
    with pytest.raises(InputError, match=r"end with \.npz"):
        check_out(tmp_path / "x.csv", overwrite=False, suffix=".npz")
    with pytest.raises(InputError, match="cannot write"):
        check_out(tmp_path / "there.csv" / "below", overwrite=False)
    check_out(tmp_path / "a" / "b" / "c", overwrite=False)
    assert not (tmp_path / "a").exists()


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "old").touch()
    with pytest.raises(InputError, match="not replaced"):
        check_out(tmp_path, overwrite=True)
    assert check_out(tmp_path, overwrite=True, marker="old") == tmp_path
    (tmp_path / "report.html").touch()
    assert check_out(tmp_path, overwrite=True) == tmp_path


def test_what_is_compiled_for_long_is_told_once(capfd, monkeypatch):
    import jax

    begins, ends = "/jax/compilation_cache/compile_requests_use_cache", "/jax/core/compile/backend_compile_duration"
    timers = []
    monkeypatch.setattr(files.threading, "Timer", lambda seconds, tell: timers.append(Later(tell)) or timers[-1])
    jax.monitoring.clear_event_listeners()
    files._tell_of_compiling.cache_clear()
    files.keep_compiled()
    jax.monitoring.record_event(begins)
    jax.monitoring.record_event_duration_secs(ends, 0.1)
    assert [timer.cancelled for timer in timers] == [True]
    jax.monitoring.record_event(begins)
    for timer in timers[1:] * 2:
        timer.tell()
    assert capfd.readouterr().err.count("compiling, which is kept in") == 1


class Later:
    """A timer that rings when it is told to."""

    def __init__(self, tell):
        self.tell, self.cancelled = tell, False

    def start(self):
        pass

    def cancel(self):
        self.cancelled = True


def test_compiled_programs_are_kept_in_the_cache_folder(tmp_path):
    code = "from tljax import files; files.keep_compiled(); import jax; print(jax.config.jax_compilation_cache_dir)"
    env = {**os.environ, "TLJAX_CACHE": str(tmp_path)}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "compiled")), done.stderr


def test_of_the_compiled_programs_those_used_last_are_kept(tmp_path):
    for name, (read, written) in {"old": (1, 1), "read": (9, 2), "new": (3, 8), "between": (5, 5)}.items():
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (read, written))
    files._keep_latest(tmp_path, 25)
    assert sorted(os.listdir(tmp_path)) == ["new", "read"]
    files._keep_latest(tmp_path, 25)
    assert sorted(os.listdir(tmp_path)) == ["new", "read"]
    files._keep_latest(tmp_path / "nothing", 25)
