"""A model as ONNX graphs: written by `affetto.onnx.export`, described by a JSON beside them, and used without torch."""

from affetto.onnx.runtime import OnnxRecogniser

__all__ = ["OnnxRecogniser"]
