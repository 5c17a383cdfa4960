"""How much memory this process may take: files as Linux has them, of both versions of control groups."""

from __future__ import annotations

import os

import pytest

from bmtme import memory

WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system without control groups, with 3 MB available, and a function that writes its files."""
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")

    def write(place, text):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_a_system_that_tells_nothing(system):
    assert memory.measure_memory() == memory.measure_free_memory() == WHOLE


def test_what_is_available(system):
    system("proc/meminfo", "MemTotal:       9000 kB\nMemAvailable:    3000 kB\n")
    assert (memory.measure_memory(), memory.measure_free_memory()) == (WHOLE, 3000 * 1024)


def test_control_groups_of_the_second_version(system):
    """The tightest of a group and those around it; copies of files can be freed."""
    system("proc/self/cgroup", "0::/jobs/one\n")
    system("groups/jobs/one/memory.max", "max\n")
    system("groups/jobs/one/memory.current", "500\n")
    system("groups/jobs/memory.max", "9000\n")
    system("groups/jobs/memory.current", "5000\n")
    system("groups/jobs/memory.stat", "anon 3000\ninactive_file 1500\n")
    assert (memory.measure_memory(), memory.measure_free_memory()) == (9000, 5500)


def test_control_groups_of_the_first_version(system):
    """In a container the place that is named is not seen, and the limit stands at the top."""
    system("proc/self/cgroup", "5:devices:/docker/1\n4:cpu,memory:/docker/1\n")
    system("groups/memory/memory.limit_in_bytes", "8000\n")
    system("groups/memory/memory.usage_in_bytes", "9000\n")
    system("groups/memory/memory.stat", "inactive_file 700\ntotal_inactive_file 3000\n")
    assert (memory.measure_memory(), memory.measure_free_memory()) == (8000, 2000)


def test_sizes_in_words():
    assert [memory.show_bytes(size) for size in (1, 3 * 2**20, 2.5 * 2**30)] == ["1 MB", "3 MB", "2.5 GB"]
