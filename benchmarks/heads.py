"""What training the folds of a row together gains, beside a plain PyTorch loop of one head after the other.

Run: python benchmarks/heads.py --data DATA [--row ROW] [--folds N] [--threads N]. The plain loop holds all it needs in
memory; it shuffles utterances, pads what falls into a batch, and trains `torch.nn` modules with `torch.optim`. Heads
that only average a layer are timed twice: given the averages, and averaging frames batch by batch. Both train the same
heads on the same folds of CREMA-D for an epoch and take turns in one run, so that a busy machine slows both; what is
printed are the medians of seconds of processor time for a fold and an epoch, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from affetto.data.corpora import open_corpus
from affetto.data.protocols import GroupedKFold, make_folds
from affetto.data.splits import by_speaker
from affetto.features.acoustic import AcousticConfig
from affetto.models.encoders import open_encoder
from affetto.models.heads import EmotionHead, HeadConfig
from affetto.models.heads.kinds import (
    AttentiveStatisticsConfig,
    BaselineConfig,
    Branch,
    BranchConfig,
    MeanPoolingConfig,
    RecurrentConfig,
    WeightedSumConfig,
)
from affetto.represent import Bank, represent
from affetto.training.heads.fit import Study, material_of, needs, new_head
from affetto.training.heads.loop import HeadTraining, fit_head
from affetto.training.heads.stack import StackTraining
from affetto.training.heads.tasks import HeadData, Task

CLASSES = ("anger", "happiness", "neutral", "sadness")
ROWS: dict[str, HeadConfig] = {
    "MP-3": MeanPoolingConfig(layer="gru3"),
    "RNN-3, 64 units": RecurrentConfig(layer="gru3", units=64),
    "baseline, 64 units": BaselineConfig(branch=BranchConfig(units=64, acoustic=AcousticConfig(stride=4))),
}
LOOPED: dict[str, HeadConfig] = {
    "weighted sum": WeightedSumConfig(),
    "attentive statistics-3": AttentiveStatisticsConfig(layer="gru3"),
}
"""Rows timed against our own plain loop, one head after the other."""
REPEATS = {"MP-3": 10, "weighted sum": 10}
"""Cheap rows are run ten times in a table, and all at once."""
AS_IT_GOES = {"MP-3": "gru3"}
"""The layer that a plain loop of this row averages batch by batch; it is timed given the averages, too."""
TRAINING = HeadTraining(learning_rate=1e-3)


class PlainHead(nn.Module):
    """What one would write: GRU layers (or none), an average, dropout, a linear layer."""

    def __init__(self, head: EmotionHead, in_width: int) -> None:
        super().__init__()
        branch = head.parts.get("branch")
        depth, units = (len(branch.layers), branch.width // 2) if isinstance(branch, Branch) else (0, 0)
        self.gru = nn.GRU(in_width, units, depth, batch_first=True, bidirectional=True) if depth else None
        self.dropout = nn.Dropout(head.dropout)
        self.output = nn.Linear(head.width, len(CLASSES))

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        if self.gru is not None:
            packed = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
            values, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return self.output(self.dropout(values.sum(dim=1) / lengths[:, None]))


def plain_epoch(head: EmotionHead, frames: list[Tensor], labels: Tensor, task: Task) -> float:
    """Seconds of training one head on one fold for an epoch, and of judging it."""
    network = PlainHead(head, frames[0].shape[1])
    optimiser = torch.optim.AdamW(network.parameters(), TRAINING.learning_rate)
    order = np.random.default_rng(task.fold).permutation(task.training)
    begin = time.process_time()
    network.train()
    for start in range(0, len(order), TRAINING.batch_size):
        batch = order[start : start + TRAINING.batch_size]
        loss = nn.functional.cross_entropy(network(*padded(frames, batch)), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), TRAINING.clip_norm)
        optimiser.step()
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(task.validation), TRAINING.batch_size):
            network(*padded(frames, task.validation[start : start + TRAINING.batch_size]))
    return time.process_time() - begin


def padded(frames: list[Tensor], batch: np.ndarray) -> tuple[Tensor, Tensor]:
    chosen = [frames[place] for place in batch]
    return pad_sequence(chosen, batch_first=True), torch.tensor([len(each) for each in chosen])


def looped_epoch(config: HeadConfig, study: Study, material: HeadData, task: Task) -> float:
    """The same of our own loop."""
    head = new_head(config, study)
    begin = time.process_time()
    fit_head(head, material, task, TRAINING.model_copy(update={"epochs": 1}), seed=1)
    return time.process_time() - begin


def stacked_epoch(config: HeadConfig, study: Study, material: HeadData, tasks: list[Task]) -> float:
    """Seconds of training all heads for an epoch, and of judging them, for one head."""
    heads = [new_head(config, study, task.repeat, task.fold) for task in tasks]
    training = StackTraining(heads, tasks, material, TRAINING, seed=1)
    training.epoch = 1  # an epoch like most: not the first, which is sorted throughout
    begin = time.process_time()
    training.run_epoch()
    return (time.process_time() - begin) / len(tasks)


def study_of(data: Path, cache: Path) -> tuple[Study, list[Task], Tensor]:
    found = open_corpus(data / "crema-d").utterances
    utterances = [each for each in found if each.emotion in CLASSES]
    encoder = open_encoder("small", device="cpu")
    banks: dict[str, Bank] = {}
    for config in (ROWS | LOOPED).values():
        for extractor in needs(config, encoder):
            banks |= represent(utterances, extractor, cache)
    place = {each.id: number for number, each in enumerate(utterances)}
    splits = make_folds(utterances, GroupedKFold(), group=by_speaker, seed=1)
    tasks = [
        Task(
            0,
            fold,
            *(np.array([place[each.id] for each in part]) for part in (split.train, split.validation, split.test)),
        )
        for fold, split in enumerate(splits)
    ]
    labels = torch.tensor([CLASSES.index(each.emotion or "") for each in utterances])
    share = float(np.mean([len(task.training) for task in tasks]) / len(utterances))
    return Study(CLASSES, torch.eye(len(CLASSES))[labels], share, banks, encoder.layers, None, 1), tasks, labels


def frames_of(bank: Bank) -> list[Tensor]:
    return [frames for start in range(len(bank)) for frames in bank.batch(np.array([start])).unpad()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds crema-d")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where representations are kept")
    parser.add_argument("--folds", type=int, default=10, help="trained together; the plain loop is timed on the first")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--row", choices=list(ROWS | LOOPED), action="append", help="only this one; may be repeated")
    parser.add_argument("--threads", type=int, default=1, help="as many as a worker of an experiment has")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    study, tasks, labels = study_of(options.data, options.cache)
    for name in options.row or [*ROWS, *LOOPED]:
        config = (ROWS | LOOPED)[name]
        material = material_of(config, study)
        frames = [] if name in LOOPED else frames_of(next(iter(material.banks.values())))
        going = frames_of(study.banks[AS_IT_GOES[name]]) if name in AS_IT_GOES else None
        plain, averaging, stacked = [], [], []
        together = [
            task._replace(repeat=repeat) for repeat in range(REPEATS.get(name, 1)) for task in tasks[: options.folds]
        ]
        for _ in range(options.turns):
            if name in LOOPED:
                plain.append(looped_epoch(config, study, material, tasks[0]))
            else:
                plain.append(plain_epoch(new_head(config, study), frames, labels, tasks[0]))
            if going is not None:
                averaging.append(plain_epoch(new_head(config, study), going, labels, tasks[0]))
            stacked.append(stacked_epoch(config, study, material, together))
        ours, theirs = statistics.median(stacked), statistics.median(plain)
        seconds = statistics.median(averaging) if averaging else None
        as_it_goes = (
            {} if seconds is None else {"averaging_s": round(seconds, 4), "its ratio": round(seconds / ours, 1)}
        )
        print(
            json.dumps(
                {
                    "row": name,
                    "heads together": len(together),
                    "plain_s": round(theirs, 4),
                    "stacked_s": round(ours, 5),
                    "ratio": round(theirs / ours, 1),
                    **as_it_goes,
                }
            )
        )


if __name__ == "__main__":
    main()
