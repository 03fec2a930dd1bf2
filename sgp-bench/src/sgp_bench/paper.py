"""The paper's own figures, as the authors' project page prints them, in per cent.

Two cells of that page contradict its Overall column (Semantics of GPT-4o-05-13 and GPT-4-Turbo) and are left out,
and so are figures that could not be read again in the paper.
"""

from __future__ import annotations

SOURCE = "Table 1 of the project page"
COLUMNS = ("Overall", "Semantics", "Count", "Color", "Shape", "Reasoning")
SVG: dict[str, tuple[float | None, ...]] = {
    "Claude 3.5 Sonnet": (67.4, 50.5, 58.4, 89.1, 75.8, 52.7),
    "GPT-4o-08-06": (64.8, 45.9, 56.8, 87.3, 75.2, 50.4),
    "GPT-4o-05-13": (63.3, None, 55.3, 83.2, 69.6, 47.1),
    "GPT-4-Turbo": (60.9, None, 53.9, 83.2, 68.7, 41.2),
    "GPT-4o-mini": (58.5, 39.8, 50.4, 79.1, 70.9, 41.4),
    "Llama3.1-405B": (58.0, 37.6, 58.4, 81.6, 64.7, 38.9),
    "Llama3.1-70B": (57.4, 40.0, 54.3, 78.8, 65.9, 41.1),
    "Mistral-Large2": (57.2, 38.9, 55.8, 81.4, 63.5, 40.8),
    "Claude 3 Sonnet": (56.5, 37.5, 50.3, 80.3, 65.7, 39.5),
    "Llama3-70B": (54.8, 36.4, 49.6, 74.9, 64.5, 36.9),
    "Qwen2-72B": (53.7, 37.3, 42.6, 77.0, 63.0, 37.2),
    "Qwen1.5-110B": (49.9, 32.4, 43.1, 73.4, 56.0, 33.2),
    "GPT-3.5-Turbo": (49.8, 31.9, 45.1, 72.9, 57.7, 33.8),
    "Claude 3 Haiku": (48.6, 26.4, 39.8, 75.0, 61.0, 30.1),
    "Llama3.1-8B": (46.5, 33.9, 38.5, 66.7, 53.3, 26.8),
    "Llama3-8B": (42.9, 30.4, 37.2, 62.6, 48.4, 29.3),
    "Mistral-7B": (41.7, 30.4, 32.4, 62.4, 47.0, 29.6),
    "Gemma-1.1-7B": (39.3, 34.7, 27.5, 45.3, 52.3, 29.9),
    "Gemma-1.1-2B": (31.7, 32.1, 33.3, 25.0, 35.6, 28.7),
    "random": (25.9, 25.3, 25.9, 27.1, 25.2, 26.8),
}
CAD_COLUMNS = ("Overall", "3D", "3Dcomplex", "2D")
CAD: dict[str, tuple[float, ...]] = {
    "Claude 3.5 Sonnet": (74.2, 76.9, 72.7, 71.7),
    "GPT-4o-05-13": (73.3, 78.2, 71.1, 68.6),
    "Llama3.1-405B": (71.7, 76.7, 70.0, 66.1),
    "Llama3.1-8B": (57.4, 62.6, 53.9, 53.4),
}
MNIST = {"GPT-4o": 13.0, "Qwen2-72B": 11.3, "GPT-4-Turbo": 10.6, "GPT-3.5": 10.2, "Llama3-70B": 10.0, "Yi-1.5-34B": 5.5}
GENERIC = {  # Open-Instruct alone, with SIT, rev-SIT, mixed-SIT
    "XNLI": (41.8, 43.3, 43.1, 42.9), "HellaSwag": (60.0, 60.2, 60.5, 60.4), "AGIEval": (23.7, 30.3, 31.6, 29.2),
    "C-Eval": (46.4, 47.9, 48.0, 48.1), "BBH": (59.5, 60.7, 60.2, 61.2), "Arithmetic": (89.8, 91.8, 90.1, 91.8),
    "GSM8k": (48.2, 50.7, 51.0, 51.5), "CoQA": (67.9, 69.1, 68.7, 69.1), "PIQA": (79.9, 80.3, 80.3, 80.4),
    "MMLU": (60.4, 61.0, 61.1, 61.6), "MathQA": (39.3, 40.4, 40.3, 40.7), "SQuAD2": (28.9, 28.7, 31.6, 29.9),
    "ASDiv": (18.5, 21.8, 20.1, 21.3),
}  # fmt: skip
