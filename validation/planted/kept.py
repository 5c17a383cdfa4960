"""Errors in what is kept of a chain that is stopped, and in which draws a longer run keeps."""

from __future__ import annotations

from validation.planted.mutant import Mutant

SNAPSHOTS = "engines/rotated/test_snapshots.py::"
ON = SNAPSHOTS + "test_goes_on_bit_for_bit[collapsed-paper]"
STREAMED = "pipeline/test_streamed.py::"
LONGER = SNAPSHOTS + "test_more_draws_are_those_of_a_longer_run[thin]"
MIXED = "engines/mixed/test_chain.py::"
MIXED_ON = tuple(MIXED + f"test_goes_on_bit_for_bit[{kind}]" for kind in ("metropolis", "hamiltonian"))
HALTED = MIXED + "test_a_move_that_is_stopped_on_its_way_is_not_made[2]"

GOING_ON = (
    Mutant(
        "snapshot: the random numbers begin anew",
        "engines/rotated/chains.py",
        '        self.rng.bit_generator.state = snapshot.values["generator"]\n',
        "",
        (ON,),
    ),
    Mutant(
        "snapshot: without the adaptation",
        "engines/rotated/chains.py",
        'found = list_state(problem, state) | dict(list_arrays("walk", walk))',
        'found = list_state(problem, state) | {"walk.theta": walk.theta}',
        (ON,),
    ),
    Mutant(
        "snapshot: without the sums over the draws",
        "engines/rotated/chains.py",
        "return found | ({name: getattr(self.draws, name) for name in SUMS} if self._keeping else {})",
        "return found",
        (ON,),
    ),
    Mutant(
        "snapshot: without the trail of a stage of the warm-up",
        "engines/rotated/chains.py",
        '            found["trail"] = self.trail[:done]\n',
        '            found["trail"] = self.trail[:0]\n',
        (ON,),
    ),
    Mutant(
        "thinned effects: evenly spread over each length",
        "results/predictions.py",
        "    return np.arange(0, count, stride)\n",
        "    return spread_evenly(count, most)\n",
        (SNAPSHOTS + "test_kept_draws_of_a_longer_run_are_among_those_of_a_shorter",),
    ),
    Mutant(
        "longer run: sums over the draws begin anew",
        "engines/rotated/snapshots.py",
        "        getattr(longer, name)[:] = getattr(draws, name)\n    return longer",
        "        pass\n    return longer",
        (LONGER,),
    ),
    Mutant(
        "draws on the disc: in files that do not get them",
        "mapped.py",
        "mmap.mmap(file.fileno(), size), float)",
        "mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE), float)",
        (STREAMED + "test_the_same_numbers[paper-none]",),
    ),
    Mutant(
        "draws on the disc: in memory after all",
        "engines/rotated/chains.py",
        "len(slots), slots, track, allocate)",
        "len(slots), slots, track)",
        (STREAMED + "test_draws_of_the_chains_are_in_files",),
    ),
    Mutant(
        "draws on the disc: read from the first byte of a page",
        "mapped.py",
        "np.frombuffer(held, float, count, offset - first)",
        "np.frombuffer(held, float, count, 0)",
        (STREAMED + "test_the_same_numbers[paper-none]",),
    ),
    Mutant(
        "draws on the disc: blocks of the checkpoint from the first draw on",
        "results/checkpoint.py",
        "chain.cut(kept.drawn, chain.drawn)",
        "chain.cut(0, chain.drawn - kept.drawn)",
        (STREAMED + "test_stopped_and_longer",),
    ),
    Mutant(
        "draws on the disc: what is collected is in memory",
        "results/posterior.py",
        "out = allocate((len(chains), len(chains[0].slot), *shape))",
        "out = np.zeros((len(chains), len(chains[0].slot), *shape))",
        (STREAMED + "test_no_step_holds_all_draws",),
    ),
    Mutant(
        "resumed run: a block beyond the last draw is not noticed",
        "engines/rotated/snapshots.py",
        "    if last > len(draws.slot):",
        "    if False:",
        (SNAPSHOTS + "test_snapshot_of_another_chain_is_refused",),
    ),
    Mutant(
        "mixed snapshot: the random numbers begin anew",
        "engines/mixed/chain.py",
        '        self.rng.bit_generator.state = snapshot.values["generator"]\n',
        "",
        MIXED_ON,
    ),
    Mutant(
        "mixed snapshot: draws that wait for their effects are forgotten",
        "engines/mixed/chain.py",
        "        made = self.done if self.stage else 0\n",
        "        made = self.drawn\n",
        MIXED_ON,
    ),
    Mutant(
        "mixed snapshot: the step begins its adaptation anew",
        "engines/mixed/chains.py",
        "value, self.step, self.slack, self.smooth = ",
        "value, self.step, _, self.smooth = ",
        MIXED_ON[1:],
    ),
    Mutant(
        "mixed snapshot: without the weight of the place",
        "engines/mixed/chains.py",
        "self.value, self.weight = arrays",
        "self.value, _ = arrays",
        MIXED_ON[:1],
    ),
    Mutant(
        "mixed chain: a move that is stopped on its way keeps its random numbers",
        "engines/mixed/chain.py",
        "self.here, self.rng.bit_generator.state, self.target.evaluations = here, generator, evaluations",
        "self.here, self.target.evaluations = here, evaluations",
        (HALTED,),
    ),
    Mutant(
        "mixed chain: a move that is stopped at its jump keeps its path",
        "engines/mixed/chain.py",
        "self.here, self.rng.bit_generator.state, self.target.evaluations = here, generator, evaluations",
        "self.rng.bit_generator.state, self.target.evaluations = generator, evaluations",
        (HALTED,),
    ),
    Mutant(
        "mixed chain: effects by their place among those that are kept",
        "engines/mixed/chain.py",
        "(*self.seed.spawn_key, EFFECTS, draw)",
        "(*self.seed.spawn_key, EFFECTS, a + k)",
        tuple(MIXED + f"test_more_draws_are_those_of_a_longer_run[{kind}]" for kind in ("metropolis", "hamiltonian")),
    ),
)
