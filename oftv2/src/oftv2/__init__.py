"""OFTv2 and QOFT (arXiv 2506.19847): orthogonal finetuning by rotating the input of frozen layers.

from oftv2 import OFTConfig, inject
handle = inject(model, OFTConfig(block_size=32))    # outputs unchanged until something is learned
...                                                 # train handle.parameters()
handle.save("adapter")                              # PEFT's format
"""

from .config import OFTConfig
from .errors import OFTError
from .handle import AdapterHandle
from .inject import inject, load_adapter
from .rotation import rotation_from

__all__ = ["AdapterHandle", "OFTConfig", "OFTError", "inject", "load_adapter", "rotation_from"]
