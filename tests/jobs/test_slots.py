"""A worker's name: its own while it lives, its successor's at once, and of no other folder."""

import os
import signal

from moked.jobs.slots import slot


def test_each_has_its_own_and_the_lowest_is_taken_first(tmp_path):
    with slot(tmp_path) as one, slot(tmp_path) as two:
        assert one.endswith("-1")
        assert two.endswith("-2")
    with slot(tmp_path) as again:
        assert again == one


def test_folders_are_told_apart(tmp_path):
    with slot(tmp_path / "a") as one, slot(tmp_path / "b") as two:
        assert one != two


def test_a_killed_process_leaves_its_name_to_the_next(tmp_path):
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:  # it holds its slot until it is killed
        with slot(tmp_path) as name:
            os.write(tell, name.encode())
            signal.pause()
        os._exit(0)
    name = os.read(told, 200).decode()
    with slot(tmp_path) as other:
        assert other != name
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with slot(tmp_path) as next_one:
        assert next_one == name
    os.close(told)
    os.close(tell)
