"""Replicates of a study of calibration, in threads, kept in a file from which an interrupted run goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from bmtme.engines.rotated.rehearsal import rehearse
from bmtme.testing.sbc import Study, run_replicate


def read_replicates(path: Path, header: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Replicates of a file by number; a line cut short by an interruption is taken off the file.

    Raises
    ------
    ValueError
        Where the file was made with other settings.
    """
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    lines = [json.loads(line) for line in whole.decode().splitlines()]
    if not lines:
        return {}
    old = lines[0]
    differing = [key for key in {**old, **header} if old.get(key) != header.get(key)]
    if differing:
        raise ValueError(f"{path} was made with other {', '.join(differing)}: remove it or choose another folder.")
    return {line["replicate"]: line for line in lines[1:]}


def run_study(
    study: Study,
    replicates: int,
    path: Path | None = None,
    *,
    seed: int = 1,
    cores: int = 1,
    report: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the replicates that a file does not hold yet, in threads; each goes to the file when it is done.

    Parameters
    ----------
    path : JSON lines, the first with the settings; None keeps nothing
    report : told (replicates done, of how many)

    Returns
    -------
    list
        One dictionary a replicate (see `run_replicate`), in order, whatever the number of cores.
    """
    header: dict[str, Any] = json.loads(json.dumps({**study.describe(), "seed": seed}))
    done = read_replicates(path, header) if path else {}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or not path.stat().st_size:
            path.write_text(json.dumps(header) + "\n", encoding="utf-8")
    rehearse(study.sampler)
    stop, lock = threading.Event(), threading.Lock()

    def run(number: int) -> None:
        result = None if stop.is_set() else run_replicate(study, seed, number, stop)
        if result is None:
            return
        with lock:
            if path:
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
            done[number] = result
            if report:
                report(len(done), replicates)

    missing = [number for number in range(replicates) if number not in done]
    with threadpool_limits(1), ThreadPoolExecutor(cores) as pool:
        tasks = [pool.submit(run, number) for number in missing]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [done[number] for number in range(replicates)]
