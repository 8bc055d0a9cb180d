"""What bringing recordings to one level costs on other corpora: it hides how loud a clip is beside the others.

    python benchmarks/level.py --data DATA --whisper FOLDER     (crema-d, ravdess, savee; Whisper tiny.en)

Prints UAR on two corpora of a logistic regression over a layer's means, trained on 2,000 clips of CREMA-D, whole
recordings: Whisper tiny.en's weights and those of `tiny`, which are the same in eight bits, each with sound as loud as
it is, and brought to one level as `tiny` does. Takes ten minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from affetto import metrics, pretrained
from affetto.data.corpora import open_corpus
from affetto.data.sound import load_utterance
from affetto.data.utterance import Utterance
from affetto.frames import Waves
from affetto.models.network import load_recogniser
from affetto.models.whisper import WhisperEncoder, load_whisper_encoder
from affetto.models.whisper_ctc import WhisperCtc

CLASSES = ("anger", "happiness", "neutral", "sadness")
LAYERS = ("layer1", "layer2", "layer3")
TRAINING = 2000
TESTED = ("ravdess", "savee")


def clips(corpus: Path) -> list[Utterance]:
    return [each for each in open_corpus(corpus).utterances if each.emotion in CLASSES]


Means = dict[str, NDArray[np.float32]]


def means(encoder: WhisperEncoder, level: float | None, utterances: Sequence[Utterance]) -> Means:
    """Each layer's mean over time, (utterances, width)."""
    encoder.config = encoder.config.model_copy(update={"level": level})
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in LAYERS}
    for utterance in utterances:
        wave = load_utterance(utterance)
        with torch.inference_mode():
            found = encoder.represent(Waves(wave[None], torch.tensor([len(wave)])), LAYERS)
        for name in LAYERS:
            rows[name].append(found[name].values[0].mean(dim=0))
    return {name: torch.stack(each).numpy() for name, each in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--whisper", type=Path, required=True)
    given = parser.parse_args()
    tiny, _ = load_recogniser(pretrained.find("tiny") / pretrained.RECOGNISER)
    assert isinstance(tiny, WhisperCtc)
    level = tiny.encoder.config.level
    known = clips(given.data / "crema-d")
    training = [known[place] for place in np.random.default_rng(0).permutation(len(known))[:TRAINING]]
    tested = {name: clips(given.data / name) for name in TESTED}
    print(f"| weights | level | layer | {' | '.join(TESTED)} |\n|---|---|---|{'---:|' * len(TESTED)}")
    for weights, encoder in (("tiny.en", load_whisper_encoder(given.whisper)), ("tiny", tiny.encoder)):
        for name, brought in (("as it is", None), ("brought to one", level)):
            own = means(encoder.eval(), brought, training)
            others = {corpus: means(encoder, brought, each) for corpus, each in tested.items()}
            for layer in LAYERS:
                model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
                model.fit(own[layer], [each.emotion for each in training])
                scores = []
                for corpus in TESTED:
                    predicted = list(model.predict(others[corpus][layer]))
                    scores.append(metrics.uar([str(each.emotion) for each in tested[corpus]], predicted))
                print(f"| {weights} | {name} | {layer} | {' | '.join(f'{each:.3f}' for each in scores)} |", flush=True)


if __name__ == "__main__":
    main()
