"""A model as ONNX graphs, for whatever runs them: written by `affetto.onnx.export`, described by a JSON beside them."""
