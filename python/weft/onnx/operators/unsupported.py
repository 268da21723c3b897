"""What of ONNX Weft does not run, and why: the one list that errors, the tests and docs/onnx.md read."""

from __future__ import annotations

STRINGS = "Weft has no strings"
REASONS = {
    "strings": STRINGS,
    "sparse tensors": "Weft has no sparse arrays; store the values densely",
    "RegexFullMatch": STRINGS,
    "StringConcat": STRINGS,
    "StringNormalizer": STRINGS,
    "StringSplit": STRINGS,
    "TfIdfVectorizer": "it counts n-grams, which is preparing data, not computing with arrays",
    "ImageDecoder": "files are decoded before a model sees them (weft.data.read_image)",
    "ai.onnx.ml.ArrayFeatureExtractor": "classical models (ai.onnx.ml) are scikit-learn's",
    "ai.onnx.ml.Binarizer": "classical models (ai.onnx.ml) are scikit-learn's",
    "ai.onnx.ml.LabelEncoder": "classical models (ai.onnx.ml) are scikit-learn's",
    "ai.onnx.ml.TreeEnsemble": "classical models (ai.onnx.ml) are scikit-learn's",
}

#: Node tests of onnx.backend.test that Weft runs and that do not pass, and why (a regular expression for their names).
EXPECTED_FAILURES = {
    r"test_bernoulli(_double|_seed)?(_expanded)?": "drawn by NumPy, where Weft draws by its own generator",
    r"test_training_dropout(_default)?(_mask)?": "drawn by NumPy, where Weft draws by its own generator",
    r"test_loop16_seq_none": "the comparison of onnx itself takes the length of a 0-d array",
    r"test_attention_4d_causal_fp16(_expanded)?": "each step of the softmax is rounded to float16, Weft's result once",
}


def reason(name: str) -> str:
    """Why `name` is not run, as the end of an error."""
    return f"expected an operator that Weft runs, got {name}: {REASONS.get(name, 'it has no entry in the table')}"
