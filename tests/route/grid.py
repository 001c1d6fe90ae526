"""Compares `switchyard route` with the NumPy implementation over a grid of configs.

    python3 tests/route/grid.py build/release/switchyard            the whole grid
    python3 tests/route/grid.py build/release/switchyard --reduced  a share of it, every feature, fewer tokens
    python3 tests/route/grid.py ... --only TEXT                     combinations whose name has TEXT

Every combination runs on 1 and 4 thread ranks, whose outputs must be the same bytes. Prints the number of
combinations and the largest difference of each output; exit code 1 on any mismatch.
"""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    sys.exit("error: NumPy is missing; Debian: apt-get install python3-numpy")

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from combinations import VOCABULARY, combinations, reduced  # noqa: E402
from reference import tensor_file  # noqa: E402
from reference.route import route  # noqa: E402

EXACT = ("expert_ids", "kept", "slot", "counts")
TOLERANCE = {"F64": 1e-12, "F32": 2e-6}  # of the largest value of a tensor, and of 1 for values


class Workshop:
    """Inputs that are made once, and the results of one combination."""

    def __init__(self, folder, binary, tokens, sequence_length):
        self.folder, self.binary = folder, binary
        self.tokens, self.sequence_length, self.files = tokens, sequence_length, {}

    def scores(self, combination):
        moe = combination.moe
        branches = moe["router"].get("branches", [0])
        columns = moe["num_experts"] + branches[0]
        key = (columns, combination.dtype, combination.inputs)
        if key not in self.files:
            path = os.path.join(self.folder, f"scores-{len(self.files)}.safetensors")
            self.files[key] = path, make_inputs(self.tokens, columns, moe["num_experts"], key)
            tensor_file.write(path, self.files[key][1])
        return self.files[key]

    def run(self, combination, number):
        """Output tensors, metrics, and a problem or None."""
        path, inputs = self.scores(combination)
        config = os.path.join(self.folder, f"config-{number}.yaml")
        with open(config, "w") as out:
            out.write(f"model: {{vocab_size: {VOCABULARY}}}\nmoe: {flow(combination.moe)}\n")
        found = []
        for ranks in (1, 4):
            out = os.path.join(self.folder, f"out-{number}-{ranks}.safetensors")
            command = [self.binary, "route", path, config, "--out", out, "--ranks", str(ranks), "--seed", "3", "--step", "5",
                       "--layer", "2", "--sequence-length", str(self.sequence_length)]
            done = subprocess.run(command + (["--train"] if combination.training else []), capture_output=True, text=True)
            if done.returncode != 0:
                return None, None, f"--ranks {ranks}: exit code {done.returncode}: {done.stderr.strip()[-300:]}"
            with open(out, "rb") as source:
                found.append((source.read(), done.stdout))
        outputs = tensor_file.read(out)
        os.remove(out)
        problem = None if found[0] == found[1] else "1 and 4 ranks write different bits"
        return outputs, json.loads(done.stdout), problem

    def expect(self, combination):
        _, inputs = self.scores(combination)
        return route(inputs, combination.moe, combination.training, 3, 5, 2, self.sequence_length, VOCABULARY)


def make_inputs(tokens, columns, experts, key):
    _, dtype, names = key
    kind = np.float64 if dtype == "F64" else np.float32
    rng = np.random.default_rng(17 + columns)
    slope = np.linspace(0.8, -0.8, columns)  # some experts are liked better: capacities bind
    inputs = {"logits": (rng.normal(size=(tokens, columns)) + slope).astype(kind)}
    inputs["tokens"] = (VOCABULARY * rng.random(tokens)**2).astype(np.int64)
    if "bias" in names:
        inputs["bias"] = (0.01 * rng.normal(size=experts)).astype(kind)
    if "factor" in names:
        inputs["bias"] = (1.0 + 0.1 * rng.normal(size=experts)).astype(kind)
    if "noise" in names:
        inputs["noise"] = rng.normal(size=(tokens, experts)).astype(kind)
    return inputs


def flow(value):
    """YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return json.dumps(value) if not isinstance(value, str) else value


def metrics_of(outputs, expected, found):
    """By how much the metrics that follow from the expected tensors differ; infinity where one is missing."""
    counts, kept, ids = expected["counts"], expected["kept"], expected["expert_ids"]
    mean, share = counts.mean(), counts / max(counts.sum(), 1)
    wanted = {"max_vio": counts.max() / mean - 1, "load_cv": counts.std() / mean, "load_max": counts.max() / mean,
              "load_min": counts.min() / mean,
              "load_entropy": -(share[share > 0] * np.log(share[share > 0])).sum() / np.log(len(counts)),
              "drop_rate": 1 - kept.sum() / counts.sum(), "tokens_without_expert": (kept.sum(axis=1) == 0).sum()}
    return {name: abs(found[name] - value) if isinstance(found.get(name), (int, float)) else np.inf
            for name, value in wanted.items()}


def differences(combination, outputs, expected, metrics):
    """Problems, and the largest difference of each output relative to its size."""
    problems, largest = [], {}
    base = combination.moe["router"]["type"] == "base" and combination.training
    for name, wanted in expected.items():
        if name not in outputs or outputs[name].shape != wanted.shape:
            problems.append(f"{name}: shape {outputs[name].shape if name in outputs else None}, expected {wanted.shape}")
            continue
        found = outputs[name]
        if base and name in ("expert_ids", "slot", "weights"):
            continue  # several optimal assignments may exist: compared by objective below
        if name in EXACT:
            wrong = np.argwhere(found != wanted)
            if len(wrong):
                place = tuple(wrong[0])
                problems.append(f"{name}: {len(wrong)} differ, first at {place}: {found[place]}, expected {wanted[place]}")
            continue
        # Where the loads are equal by construction a gradient is 0, and both sides have rounding noise.
        floor = 1.0 / len(wanted) if name.startswith("term_grad") else 1.0
        size = max(floor, float(np.abs(wanted).max(initial=0.0)))
        difference = float(np.abs(found - wanted).max(initial=0.0)) / size
        largest[name.split(".")[0]] = max(difference, largest.get(name.split(".")[0], 0.0))
        if not difference <= TOLERANCE[combination.dtype]:
            problems.append(f"{name}: differs by {difference:.3g} of its size")
    for name, difference in metrics_of(outputs, expected, metrics).items():
        largest["metrics"] = max(float(difference), largest.get("metrics", 0.0))
        if not difference <= 1e-9:
            problems.append(f"metric {name}: differs by {difference:.3g}")
    return problems, largest


def objective_problem(combination, inputs, outputs, expected):
    """base: as balanced and as good as the optimum."""
    if combination.moe["router"]["type"] != "base" or not combination.training:
        return []
    rows, logits = np.arange(len(inputs["logits"])), inputs["logits"].astype(np.float64)
    found, best = (logits[rows, out["expert_ids"][:, 0]].sum() for out in (outputs, expected))
    return [f"objective {found}, optimum {best}"] if found < best - 1e-6 * len(rows) else []


def check(workshop, numbered):
    number, combination = numbered
    outputs, metrics, problem = workshop.run(combination, number)
    if outputs is None:
        return combination, [problem], {}
    expected = workshop.expect(combination)
    problems, largest = differences(combination, outputs, expected, metrics)
    problems += objective_problem(combination, workshop.scores(combination)[1], outputs, expected)
    return combination, ([problem] if problem else []) + problems, largest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--reduced", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    tokens, experts, length = (256, 16, 32) if arguments.reduced else (4096, 64, 128)
    chosen = combinations(experts)
    if arguments.reduced:
        chosen = reduced(chosen)
    chosen = [combination for combination in chosen if arguments.only in combination.name]
    largest, failed = {}, 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        workshop = Workshop(folder, os.path.abspath(arguments.binary), tokens, length)
        for combination in chosen:
            workshop.scores(combination)
        for combination, problems, found in pool.map(lambda item: check(workshop, item), enumerate(chosen)):
            for problem in problems:
                print(f"MISMATCH {combination.name}: {problem}", flush=True)
            failed += bool(problems)
            for name, difference in found.items():
                key = f"{name}, {combination.dtype}"
                largest[key] = max(difference, largest.get(key, 0.0))
    print(f"{len(chosen)} combinations, {tokens} tokens, {experts} experts, 1 and 4 ranks: {failed} differ")
    for name, difference in sorted(largest.items()):
        print(f"  largest difference of {name}: {difference:.2g}")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
