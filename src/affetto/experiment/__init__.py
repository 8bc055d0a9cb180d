"""From a recipe to a run folder: one head, or the grid of rows, folds and repeats that a table is made of."""

from affetto.experiment.single import EmotionRecipe, EmotionRun, train_emotion

__all__ = ["EmotionRecipe", "EmotionRun", "train_emotion"]
