"""Kernels run in Triton's interpreter; torch uses one thread, as the tests are small."""

import os
import sys
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
torch.set_num_threads(1)
warnings.filterwarnings("ignore", message=".*has only padding so far.*")
