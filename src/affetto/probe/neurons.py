"""Which units of a recogniser follow how loud, how high, how clearly voiced, how fast and how bright a voice is.

The paper found that unit 840 of its second GRU layer correlates with loudness by more than .64 on average (section 4,
figure 6). Here every unit of every layer is looked at, and what is reported was measured on speakers who did not choose
the unit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from affetto.config import stable_seed
from affetto.data.manifest import manifest_digest
from affetto.data.splits import by_speaker, held_out_groups
from affetto.data.utterance import Utterance
from affetto.environment import environment
from affetto.errors import CorpusError
from affetto.models.encoders import open_encoder
from affetto.models.encoders.encoder import Encoder
from affetto.probe import folder
from affetto.probe.correlation import BestUnit, Tally, best_rows, correlations, find
from affetto.probe.folder import ProbeConfig, read_utterances, untrained
from affetto.probe.frame_reader import TARGETS, UNITS, FrameReader, Part
from affetto.represent import Progress

KIND = "neurons"
BEST, BY_LAYER, ARRAYS, TRACES = "best.csv", "by-layer.csv", "correlations.safetensors", "traces.safetensors"


class NeuronConfig(ProbeConfig):
    """Settings of the probe of neurons."""

    untrained: bool = False  # look into a network of the same shape with random weights instead
    permutations: Annotated[int, Field(ge=1, le=10_000)] = 199  # p-values are no smaller than 1 / (permutations + 1)
    best: Annotated[int, Field(ge=1)] = 5  # units of each target to list
    shown: Annotated[int, Field(ge=0)] = 4  # utterances of the measuring half to draw, taken by chance
    show: tuple[str, ...] = ()  # ids of further utterances to draw


class Neurons(NamedTuple):
    """What was found: the folder, ``probe.json``, and the best units of each target."""

    root: Path
    facts: dict[str, Any]
    best: list[BestUnit]  # among all layers
    by_layer: list[BestUnit]  # the best of each layer


def probe_neurons(
    config: NeuronConfig, data_root: Path, output: Path, *, device: str = "auto", progress: Progress | None = None
) -> Neurons:
    """Looks into every unit, and writes what it finds to a folder that must not be there yet.

    Raises AffettoError where the output is there already; there is no such corpus, class, recogniser or device; there
    are fewer than two speakers; no sound can be read.
    """
    folder.check_free(output)
    utterances = read_utterances(config, data_root)
    encoder = open_encoder(config.recogniser, device=device)
    if config.untrained:
        encoder = untrained(encoder, config.seed)
    began, where = time.perf_counter(), environment()  # the commit is that of the code that is running
    looked = look(encoder, utterances, config, progress)
    with folder.writing(output) as draft:
        folder.write_rows(draft / BEST, looked.best, BestUnit._fields)
        folder.write_rows(draft / BY_LAYER, looked.by_layer, BestUnit._fields)
        folder.write_arrays(draft / ARRAYS, looked.arrays)
        index, drawn = _traces(encoder, looked.best, _to_show(utterances, looked.measuring, config))
        folder.write_arrays(draft / TRACES, drawn)
        facts = {
            "kind": KIND,
            "config": config.model_dump(mode="json"),
            "environment": where,
            "manifest_sha256": manifest_digest(utterances),
            "encoder_fingerprint": encoder.fingerprint,
            "seconds": round(time.perf_counter() - began, 1),
            **looked.facts,
            "traces": index,
        }
        folder.write_facts(draft, facts)
    return Neurons(output, facts, looked.best, looked.by_layer)


def read_neurons(root: Path) -> Neurons:
    """Reads the folder of a probe of neurons."""
    facts = folder.read_facts(root, KIND)
    return Neurons(root, facts, folder.read_rows(root / BEST, BestUnit), folder.read_rows(root / BY_LAYER, BestUnit))


class Looked(NamedTuple):
    """What `look` finds: tables, arrays, facts for ``probe.json``, and whether an utterance measures."""

    best: list[BestUnit]
    by_layer: list[BestUnit]
    arrays: dict[str, NDArray[Any]]
    facts: dict[str, Any]
    measuring: NDArray[np.bool_]


def look(
    encoder: Encoder, utterances: Sequence[Utterance], config: NeuronConfig, progress: Progress | None = None
) -> Looked:
    """Reads all utterances once, then chooses and measures units."""
    names, speakers = np.unique([by_speaker(each) for each in utterances], return_inverse=True)
    _, held_out = held_out_groups(utterances, group=by_speaker, share=0.5, seed=stable_seed(config.seed, "halves"))
    choosing = ~np.isin(names, [by_speaker(each) for each in held_out])
    reader, measuring = FrameReader(encoder), ~choosing[speakers]
    rng = np.random.default_rng(stable_seed(config.seed, "turns"))
    tally = Tally(reader.groups, speakers, shuffled=measuring, permutations=config.permutations, rng=rng)
    for batch in reader.batches(utterances):
        for frames in batch:
            tally.add(frames)
        if progress is not None:
            progress(int(tally.seen.sum()) + len(reader.unreadable), len(utterances))
    for half, does in ((choosing, "choose"), (~choosing, "measure")):
        if not tally.seen[half[tally.speakers]].any():
            raise CorpusError(f"no sound of the speakers who {does} units can be read", "look at the warnings above")
    best, by_layer, arrays = _tables(tally, choosing, config)
    return Looked(best, by_layer, arrays, _facts(tally, reader, names, choosing), measuring)


def _tables(
    tally: Tally, choosing: NDArray[np.bool_], config: NeuronConfig
) -> tuple[list[BestUnit], list[BestUnit], dict[str, NDArray[Any]]]:
    best: list[BestUnit] = []
    by_layer: list[BestUnit] = []
    arrays: dict[str, NDArray[Any]] = {}
    for found in find(tally, choosing, np.random.default_rng(stable_seed(config.seed, "exchanges"))):
        rng = np.random.default_rng(stable_seed(config.seed, "crowds"))
        best += best_rows(tally, found, choosing, rng, count=config.best)
        for units in (units for group in tally.groups for units in group.places.values()):
            by_layer += best_rows(tally, found, choosing, rng, count=1, units=units)
        every = {"chosen": found.chosen, "measured": found.measured, "null_highest": found.highest}
        arrays |= {f"{found.level}.{found.method}.{name}": each.astype(np.float32) for name, each in every.items()}
    return best, by_layer, arrays


def _facts(tally: Tally, reader: FrameReader, names: NDArray[np.str_], choosing: NDArray[np.bool_]) -> dict[str, Any]:
    """The facts of ``probe.json`` on what was read and what is missing."""
    measuring = ~choosing[tally.speakers] & tally.seen
    gaps = {name: int((tally.seen & np.isnan(tally.prosody[:, place])).sum()) for place, name in enumerate(TARGETS)}
    constant = {name: int((tally.counts[:, place].sum(axis=0) == 0).sum()) for place, name in enumerate(TARGETS)}
    return {
        "layers": [layer._asdict() for group in reader.groups for layer in group.layers],
        "targets": UNITS,
        "choosing": names[choosing].tolist(),
        "measuring": names[~choosing].tolist(),
        "counts": {
            "utterances": int(tally.seen.sum()),
            "measuring_utterances": int(measuring.sum()),
            "speakers": len(names),
            "units": int(tally.means.shape[1]),
            "frames": int(sum(tally.frames[0][0].counts)),
        },
        "utterances_without": gaps,
        "units_never_compared": constant,
        "unreadable": reader.unreadable,
    }


def _to_show(utterances: Sequence[Utterance], measuring: NDArray[np.bool_], config: NeuronConfig) -> list[Utterance]:
    """Those asked for, and some of the measuring half."""
    known = {each.id: each for each in utterances}
    unknown = [name for name in config.show if name not in known]
    if unknown:
        raise CorpusError(f"no utterance {unknown[0]!r} among those read", "name one that is, or none", config.corpus)
    rng = np.random.default_rng(stable_seed(config.seed, "shown"))
    places = np.flatnonzero(measuring)
    drawn = rng.choice(places, min(config.shown, len(places)), replace=False)
    return [known[name] for name in dict.fromkeys([*config.show, *(utterances[place].id for place in drawn)])]


def _traces(
    encoder: Encoder, best: Sequence[BestUnit], utterances: Sequence[Utterance]
) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Reads some utterances again and keeps the best unit of each target, frame by frame (the paper's figure 6).

    Gives for ``probe.json`` what there is, and arrays by "utterance/target": (3, frames), the times in seconds, the
    activation, and the target, not a number where it does not count.
    """
    found: list[tuple[int, dict[str, Any]]] = []
    arrays: dict[str, NDArray[Any]] = {}
    reader = FrameReader(encoder)
    for frames in chain.from_iterable(reader.batches(utterances)):
        utterance = utterances[frames.place]
        about = {"utterance": utterance.id, "emotion": utterance.emotion, "text": utterance.text}
        for unit in followed(best):
            drawn, r = _trace(reader, frames.parts, unit)
            arrays[f"{utterance.id}/{unit.target}"] = drawn
            facts = {**about, "target": unit.target, "layer": unit.layer, "number": unit.number, "r": r}
            found.append((frames.place, facts))
    return [facts for _, facts in sorted(found, key=lambda each: each[0])], arrays


def _trace(reader: FrameReader, parts: Sequence[Part], unit: BestUnit) -> tuple[NDArray[np.float32], float | None]:
    """Time, activation and target, (3, frames), and their correlation, None where there is none."""
    group, part = next(pair for pair in zip(reader.groups, parts, strict=True) if unit.layer in pair[0].places)
    column = TARGETS.index(unit.target)
    valid = part.prosody.valid[:, column]
    activation = part.units[group.places[unit.layer].start - group.first + unit.number]
    target = np.where(valid, part.prosody.values[:, column], np.nan)
    times_s = np.arange(len(activation)) / group.rate_hz
    r = correlations(activation[None, valid], target[None, valid])[0, 0]
    drawn = np.stack([times_s, activation, target]).astype(np.float32)
    return drawn, None if np.isnan(r) else round(float(r), 4)


def followed(best: Sequence[BestUnit]) -> list[BestUnit]:
    """The units to draw: of each target, the one that follows it best frame by frame."""
    return [row for row in best if (row.level, row.method, row.place) == ("frame", "pearson", 1)]
