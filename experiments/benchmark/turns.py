"""Peers in turns: each in a process of its own, one of which computes while the others wait."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from experiments.benchmark.rows import OURS, TASKS, Row

CLOSE = {"logits": 1e-3, "loss": 0.1, "features": 0.1}
"""How far peers may differ, relative to the largest value: dropout differs, and how photos are resized."""


class PeerFailed(Exception):
    """A peer that could not do it; the message is one line."""


class Peer:
    """A process that measures one row."""

    def __init__(self, peer: str, row: Row, context: Path, threads: int):
        self.name, self.log = peer, context.with_name(f"{peer}.log")
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(threads)), "KERAS_BACKEND": "jax"}
        command = [sys.executable, "-m", "experiments.benchmark.worker", peer, str(context), row.name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, **pipes, stderr=log, env=environment, text=True)
        try:
            self.began = self._answer()
        except PeerFailed:
            self.close()
            raise
        self.seconds: list[list[float]] = []
        self.peak = self.began["peak"]

    def turn(self, calls: int) -> None:
        """Measures so many calls."""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            print(calls, file=self.process.stdin, flush=True)
        answer = self._answer()
        self.seconds.append(answer["seconds"])
        self.peak = answer["peak"]

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            lines = self.log.read_text("utf-8", "replace").strip().splitlines()
            raise PeerFailed(f"{lines[-1][:300] if lines else 'no message'} (exit code {self.process.wait()})")
        return json.loads(line)


def measure(row: Row, peers: Sequence[str], context: Path, *, threads: int, rounds: int, turn: float, budget: float):
    """Measures a row: ours, peer, ours, peer, ...

    Args:
        peers: who; with ours.
        context: the file that `worker.Context` is read from.
        rounds: turns of each peer, after a first one which warms up and says how many calls a turn takes.
        turn: seconds of one turn; at least one call is made.
        budget: seconds of all turns of one peer: one that is slow makes fewer. Where its first call, which compiles,
            took five times as long, or where the first call is what counts, that is the measurement.
    Returns:
        {peer: what was measured, or {"failed": why}}.
    """
    alive: list[Peer] = []
    results: dict[str, Any] = {}
    try:
        for name in peers:
            try:
                alive.append(Peer(name, row, context, threads))
            except PeerFailed as error:
                results[name] = {"failed": str(error)}
        for name, why in wrong(disagreements({peer.name: peer.began for peer in alive})).items():
            results[name] = {"failed": f"computes something else: {why}"}
        measuring = [peer for peer in alive if peer.name not in results]
        warm = [peer for peer in measuring if not TASKS[row.task].cold and peer.began["first"] <= 5 * budget]
        for number in range(rounds + 1):
            for peer in [peer for peer in warm if peer.name not in results]:
                last = peer.seconds[-1][-1] if peer.seconds else 0.0
                if number == 0 or (number + 1) * max(last, turn) <= budget:
                    try:
                        peer.turn(min(max(round(turn / last), 1), 50) if last else warming(peer, budget))
                    except PeerFailed as error:
                        results[peer.name] = {"failed": str(error)}
        results |= {peer.name: measured(peer) for peer in measuring if peer.name not in results}
    finally:
        for peer in alive:
            peer.close()
    return {name: results[name] for name in peers}


def warming(peer: Peer, budget: float) -> int:
    """Calls of the first turn: three where these are quick. The first ones of a process also meet new memory."""
    return min(max(int(budget / peer.began["first"]), 1), 3)


def measured(peer: Peer) -> dict[str, Any]:
    """What one peer's calls say. The very first turn only warms up and says how long a call takes."""
    turns = peer.seconds[1:] or peer.seconds or [[peer.began["first"]]]
    calls = [seconds for turn in turns for seconds in turn]
    low, _, high = quantiles(calls, n=4, method="inclusive") if len(calls) > 1 else (calls[0],) * 3
    return {
        "seconds": median(calls),
        "quartiles": [low, high],
        "turns": [median(turn) for turn in turns],
        "calls": len(calls),
        "warm": bool(peer.seconds),
        "first": peer.began["first"],
        "peak": peer.peak,
        **{key: peer.began[key] for key in ("flops", "bytes", "check", "outcome")},
    }


def ratios(peers: Mapping[str, Any]) -> dict[str, Any]:
    """For each peer its time over ours: of the medians, and the least and the most over the turns."""
    ours, compared = peers.get(OURS, {}), {}
    for name, peer in peers.items():
        if name == OURS or "seconds" not in peer or "seconds" not in ours:
            continue
        pairs = [theirs / mine for theirs, mine in zip(peer["turns"], ours["turns"], strict=False)]
        compared[name] = {"ratio": peer["seconds"] / ours["seconds"], "range": [min(pairs), max(pairs)]}
    return compared


def disagreements(peers: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """For each peer and each number that all must agree on, how far it is from ours, relative to the largest."""
    ours, apart = peers.get(OURS, {}).get("check", {}), {}
    for name, peer in peers.items():
        for key in () if name == OURS else peer.get("check", {}):
            theirs, mine = np.asarray(peer["check"][key], float), np.asarray(ours.get(key, np.nan), float)
            if theirs.shape == mine.shape:
                far = float(np.abs(theirs - mine).max() / np.abs(mine).max())
                apart.setdefault(name, {})[key] = far
    return apart


def wrong(apart: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """The peers that do not compute what we compute, with what differs."""
    far = {name: {key: v for key, v in values.items() if not v <= CLOSE[key]} for name, values in apart.items()}
    return {name: ", ".join(f"{key} {v:.1e}" for key, v in values.items()) for name, values in far.items() if values}


def clock() -> str:
    """Now, to the minute, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
