"""From a recipe to a run folder: one head, or the grid of rows, folds and repeats that a table is made of."""

from affetto.engine import Engine
from affetto.experiment.plan import Computing, Event, Read, Representing, RowDone, RowSkipped
from affetto.experiment.recipe import ExperimentRecipe, RowConfig
from affetto.experiment.run import ExperimentRun, RowScores, run_experiment
from affetto.experiment.single import EmotionRecipe, EmotionRun, train_emotion

__all__ = [
    "Computing",
    "EmotionRecipe",
    "EmotionRun",
    "Engine",
    "Event",
    "ExperimentRecipe",
    "ExperimentRun",
    "Read",
    "Representing",
    "RowConfig",
    "RowDone",
    "RowScores",
    "RowSkipped",
    "run_experiment",
    "train_emotion",
]
