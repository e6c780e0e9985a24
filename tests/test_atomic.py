"""Writers that are killed, that fail and that meet each other."""

import threading

import psutil
import pytest

from mdckit import atomic, files


def temporary(folder):
    return list(folder.glob(f"{atomic.TEMPORARY}*"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_goes_with_the_next_write_and_what_is_being_written_stays(tmp_path):
    with files.whole_folder(tmp_path / "set") as written:
        (atomic._new_folder(tmp_path) / "part").write_text("half")  # nobody has a lock on these two any more
        atomic._new_file(tmp_path)
        assert len(temporary(tmp_path)) == 3
        files.write_atomically(tmp_path / "other", b"whole")
        assert temporary(tmp_path) == [written]
    atomic._new_file(tmp_path)
    files.check_writable(tmp_path)
    assert names(tmp_path) == ["other", "set"]


def test_many_writers_of_one_file_never_take_each_other_for_left_over(tmp_path):
    path, failed = tmp_path / "file", []

    def write(content):
        try:
            for _ in range(40):
                files.write_atomically(path, content)
                assert path.read_bytes() in contents
        except BaseException as error:
            failed.append(error)

    contents = [bytes([n]) * 10_000 for n in range(4)]
    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert names(tmp_path) == ["file"]


def test_a_writer_begins_again_if_its_file_was_removed_before_it_was_locked(tmp_path, monkeypatch):
    made = []

    def taken(folder, make=atomic._new_file):
        made.append(make(folder))
        if len(made) == 1:
            atomic.remove_left_over(folder)
        return made[-1]

    monkeypatch.setattr(atomic, "_new_file", taken)
    assert files.write_atomically(tmp_path / "file", b"whole").read_bytes() == b"whole"
    assert len(made) == 2


@pytest.mark.parametrize("error", [OSError(95, "Operation not supported"), None])
def test_without_locks_files_are_written_and_nothing_is_taken_for_left_over(tmp_path, monkeypatch, error):
    other = atomic._new_file(tmp_path)
    if error is None:  # as on Windows
        monkeypatch.setattr(atomic, "fcntl", None)
    else:
        monkeypatch.setattr(atomic.fcntl, "flock", lambda *_: (_ for _ in ()).throw(error))
    assert files.write_atomically(tmp_path / "file", b"whole").read_bytes() == b"whole"
    assert temporary(tmp_path) == [other]


def test_other_hidden_files_are_left_alone(tmp_path):
    for name in (".mdckit.yaml", ".file.swp", ".mdckit-partial"):
        (tmp_path / name).write_text("mine")
    files.write_atomically(tmp_path / "file", b"whole")
    assert len(names(tmp_path)) == 4


def test_no_handle_is_left_open(tmp_path):
    process = psutil.Process()
    before = process.num_fds()
    files.write_atomically(tmp_path / "file", b"whole")
    with files.whole_folder(tmp_path / "folder") as folder:
        (folder / "part").write_text("whole")
    with pytest.raises(OSError, match="cannot write"):
        files.write_atomically(tmp_path / "folder", b"in the way")
    assert process.num_fds() == before
    assert temporary(tmp_path) == []
