"""From a recipe to a run folder: one head, or the grid of rows, folds and repeats that a table is made of."""

from affetto.engine import Engine
from affetto.experiment.recipe import ExperimentRecipe
from affetto.experiment.run import run_experiment
from affetto.experiment.single import EmotionRecipe, train_emotion

__all__ = ["EmotionRecipe", "Engine", "ExperimentRecipe", "run_experiment", "train_emotion"]
