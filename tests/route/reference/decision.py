"""What a router decides."""
from dataclasses import dataclass
from typing import Callable, Optional

import numpy as np

from .mathematics import mask_of


@dataclass
class Context:
    """What a router sees beside logits, bias and noise."""
    num_experts: int
    top_k: int
    draws: object
    training: bool = False
    sequence_length: int = 1
    tokens: Optional[np.ndarray] = None
    vocab_size: int = 0
    bias_is_factor: bool = False  # selection by s * b instead of s + b


@dataclass
class Decision:
    expert_ids: np.ndarray  # [T, C], choice order, -1 = none
    scores: np.ndarray  # [T, E]
    weights_over: Callable  # mask [T, E] -> combine weights [T, E] before scale, as if these experts were chosen
    weights_backward: Callable  # gradient by the weights [T, E] (before scale) -> gradient by the logits
    probs: Optional[np.ndarray] = None
    probs_backward: Optional[Callable] = None
    ranking: Optional[np.ndarray] = None  # selection keys; -inf where the token may not go
    z_logits: Optional[np.ndarray] = None
    scale: float = 1.0
    normalised: bool = False  # the weights depend on the other chosen experts
    places: Optional[np.ndarray] = None  # [T, C], where the router hands out places itself
    load: Optional[np.ndarray] = None
    load_backward: Optional[Callable] = None

    @property
    def mask(self):
        return mask_of(self.expert_ids, self.scores.shape[1])

    @property
    def counts(self):
        return self.mask.sum(axis=0, dtype=np.int64)

    def at_columns(self, values, ids=None):
        """values [T, E] at the chosen experts, 0 in padding: [T, C]."""
        ids = self.expert_ids if ids is None else ids
        return np.where(ids >= 0, np.take_along_axis(values, np.maximum(ids, 0), axis=1), 0.0)
