"""Counter-based random numbers: each is a function of its name, never of a state."""
from statistics import NormalDist

import numpy as np

JITTER, SECOND_EXPERT, GATE_NOISE, GUMBEL, CAPACITY_ORDER = 3, 4, 5, 6, 7
HASH_RANDOM, HASH_BIGRAM = 41, 43
HALF_STEP = 2.0**-54


def mix(x):
    """One round of SplitMix64."""
    with np.errstate(over="ignore"):
        x = np.asarray(x, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def name_hash(*parts):
    """The 64-bit hash of a tuple of numbers; arrays are broadcast."""
    x = np.uint64(0)
    for part in parts:
        x = mix(x ^ np.asarray(part).astype(np.uint64))
    return x


class Draws:
    """The random numbers of one layer in one step."""

    def __init__(self, seed, step, layer):
        self.seed, self.step, self.layer = seed, step, layer

    def uniform(self, stream, token, element=0):
        bits = name_hash(self.seed, stream, self.step, self.layer, token, element)
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, stream, token, element):
        inverse = np.frompyfunc(NormalDist().inv_cdf, 1, 1)
        return inverse(self.uniform(stream, token, element) + HALF_STEP).astype(np.float64)

    def gumbel(self, stream, token, element):
        return -np.log(-np.log(self.uniform(stream, token, element) + HALF_STEP))
