import pytest

from tljax.errors import InputError
from tljax.transfer.run_folder import CONFIG, LOG, STATES, check_out, drop_leftovers, run_folder


def interrupted(folder):
    """What a process that was killed in training leaves behind."""
    partial = folder / "out.partial"
    (partial / STATES / "7").mkdir(parents=True)
    (partial / "run").mkdir()
    for name in (CONFIG, LOG, "classes.json"):
        (partial / "run" / name).write_text(name)
    return folder / "out"


def old_run(folder):
    (folder / "out").mkdir()
    (folder / "out" / CONFIG).write_text("old")
    return folder / "out"


def test_a_resumed_folder_holds_its_configuration_and_journal_and_nothing_else(tmp_path):
    out = interrupted(tmp_path)
    with run_folder(out, overwrite=False, resume=True) as folder:
        assert {path.name for path in folder.iterdir()} == {CONFIG, LOG}
        assert (folder.parent / STATES / "7").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_old_run_gives_way_only_to_a_whole_one(tmp_path):
    out = old_run(tmp_path)
    with pytest.raises(KeyError), run_folder(out, overwrite=True) as folder:
        raise KeyError
    assert (out / CONFIG).read_text() == "old"
    with run_folder(out, overwrite=True) as folder:
        (folder / CONFIG).write_text("new")
    assert (out / CONFIG).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_was_to_replace_another_is_resumed_with_both_options(tmp_path):
    out = interrupted(tmp_path)
    old_run(tmp_path)
    with pytest.raises(InputError, match="--overwrite too"):
        check_out(out, overwrite=False, resume=True)
    with run_folder(out, overwrite=True, resume=True) as folder:
        assert (folder / CONFIG).read_text() == CONFIG
    assert (out / CONFIG).read_text() == CONFIG


def test_killed_between_the_two_renames_the_old_run_waits_for_the_new_one(tmp_path):
    out = interrupted(tmp_path)
    old_run(tmp_path).rename(tmp_path / "out.partial" / "replaced")
    with pytest.raises(KeyError), run_folder(out, overwrite=False, resume=True):
        raise KeyError
    assert (tmp_path / "out.partial" / "replaced" / CONFIG).read_text() == "old"
    with run_folder(out, overwrite=False, resume=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_after_the_renames_what_is_left_is_dropped(tmp_path):
    out = old_run(tmp_path)
    (tmp_path / "out.partial" / STATES / "7").mkdir(parents=True)
    (tmp_path / "out.partial" / "replaced").mkdir()
    for _ in range(2):  # the second time there is nothing
        drop_leftovers(check_out(out, overwrite=False, resume=True))
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_is_being_written_is_no_leftover(tmp_path):
    with run_folder(tmp_path / "out", overwrite=False) as folder:
        drop_leftovers(tmp_path / "out")
        assert folder.is_dir()
        folder.rmdir()
        drop_leftovers(tmp_path / "out")  # its lock alone protects it now
        assert folder.parent.is_dir()
        folder.mkdir()


def test_what_is_no_interrupted_run_is_left_alone(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "letter.txt").write_text("keep me")
    with pytest.raises(InputError, match="is in the way"), run_folder(tmp_path / "out", overwrite=True):
        pass
    assert (tmp_path / "out.partial" / "letter.txt").exists()


def test_two_at_a_time_are_refused(tmp_path):
    with (
        run_folder(tmp_path / "out", overwrite=False),
        pytest.raises(InputError, match="another process is writing"),
        run_folder(tmp_path / "out", overwrite=False),
    ):
        pass
