"""Predictions, the one source of truth, the figures that are derived from them, and the folder they lie in."""

from affetto.evaluate.predictions import Prediction, Scores, ValuePrediction, ValueScores, score, write_predictions
from affetto.evaluate.run_folder import Row, RunFolder

__all__ = ["Prediction", "Row", "RunFolder", "Scores", "ValuePrediction", "ValueScores", "score", "write_predictions"]
