"""Limelight shows what a Transformer attends to: every token, at every distance, exactly.

    text → tokens → embeddings → positions → Q, K, V → attention matrix → readings → pictures

>>> import torch, limelight as ll
>>> query, key = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 7, 8)
>>> matrix = ll.AttentionMatrix(query, key, mask=ll.masks.causal())     # nothing is stored
>>> received, entropy = matrix.read(ll.Received(), ll.Entropy())        # one pass, results in the order asked
>>> matrix[0, 1, 3:, :].shape                                           # any block, exactly
torch.Size([2, 7])

Names are loaded when they are first used, so that `import limelight` stays quick.
"""

from __future__ import annotations

import lazy_loader

from limelight._version import __version__ as __version__

# What is public stands in __init__.pyi, one line a name, for type checkers and for this.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
