"""Without a GPU the Triton kernels run in Triton's interpreter.

Triton decides that when it is first imported, and other libraries import it, so it has to be said before any test
module is read.
"""

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
