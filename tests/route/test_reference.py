"""The NumPy implementation against cases worked by hand."""
import os
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    sys.exit("error: NumPy is missing; Debian: apt-get install python3-numpy")

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import combinations  # noqa: E402
import grid  # noqa: E402
from reference import batch_choice, hashing, mathematics as m, tensor_file, terms  # noqa: E402
from reference.capacity import limit  # noqa: E402
from reference.decision import Context  # noqa: E402
from reference.route import decide, route  # noqa: E402

LN = np.log


def block(kind, experts, k, **rest):
    """A moe block; options of the router by name, other blocks as balance, bias, capacity."""
    outer = {name: rest.pop(name) for name in ("balance", "bias", "capacity") if name in rest}
    return {"num_experts": experts, "top_k": k, "router": {"type": kind, **rest}, **outer}


class RandomNumbers(unittest.TestCase):
    def test_published_vectors(self):
        self.assertEqual(int(hashing.mix(0)), 0xE220A8397B1DCDAF)
        self.assertEqual(int(hashing.name_hash(1, 2, 3)), 0xD0734750FDE362B3)

    def test_laws(self):
        draws = hashing.Draws(3, 0, 0)
        tokens = np.arange(20000)
        self.assertAlmostEqual(draws.uniform(7, tokens).mean(), 0.5, delta=0.01)
        normal = draws.normal(5, tokens, 0)
        self.assertAlmostEqual(normal.mean(), 0.0, delta=0.03)
        self.assertAlmostEqual(normal.std(), 1.0, delta=0.02)
        self.assertAlmostEqual(draws.gumbel(6, tokens, 0).mean(), 0.5772, delta=0.04)


class Files(unittest.TestCase):
    def test_round_trip(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.safetensors")
            wanted = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([1, 2], np.int64), "c": np.array([7], np.uint8)}
            tensor_file.write(path, wanted)
            found = tensor_file.read(path)
            for name, array in wanted.items():
                np.testing.assert_array_equal(found[name], array)


class Routers(unittest.TestCase):
    # softmax of the rows: [0.5, 0.3, 0.2] and [0.2, 0.2, 0.6]
    logits = LN(np.array([[5.0, 3.0, 2.0], [2.0, 2.0, 6.0]]))

    def check(self, moe, ids, weights, **rest):
        out = route({"logits": rest.pop("logits", self.logits), **rest.pop("inputs", {})}, moe, **rest)
        np.testing.assert_array_equal(out["expert_ids"], ids)
        np.testing.assert_allclose(out["weights"], weights, atol=1e-12)
        return out

    def test_softmax_top_k(self):
        self.check(block("switch", 3, 1), [[0], [2]], [[0.5], [0.6]])
        self.check(block("mixtral", 3, 2), [[0, 1], [2, 0]], [[5 / 8, 3 / 8], [6 / 8, 2 / 8]])
        self.check(block("top_k", 3, 2), [[0, 1], [2, 0]], [[5 / 8, 3 / 8], [6 / 8, 2 / 8]])
        self.check(block("top_k", 3, 2, normalize=False, scale=2.0), [[0, 1], [2, 0]], [[1.0, 0.6], [1.2, 0.4]])
        self.check(block("deepseek_moe", 3, 2), [[0, 1], [2, 0]], [[0.5, 0.3], [0.6, 0.2]])
        self.check(block("soft", 3, 2), [[0, 1, 2], [2, 0, 1]], [[0.5, 0.3, 0.2], [0.6, 0.2, 0.2]])

    def test_ties_go_to_the_lower_expert(self):
        self.check(block("top_k", 4, 2), [[0, 1]], [[0.5, 0.5]], logits=np.zeros((1, 4)))

    def test_bias_selects_and_never_weighs(self):
        bias = {"bias": np.array([0.0, 0.0, 0.4])}
        self.check(block("deepseek_moe", 3, 2), [[2, 0], [2, 0]], [[0.2, 0.5], [0.6, 0.2]], inputs=bias)
        factor = {"bias": np.array([1.0, 1.0, 2.0])}  # keys 0.5, 0.3, 0.4 and 0.2, 0.2, 1.2
        self.check(block("deepseek_moe", 3, 2, bias={"type": "multiplicative"}), [[0, 2], [2, 0]],
                   [[0.5, 0.2], [0.6, 0.2]], inputs=factor)

    def test_sigmoid_and_groups(self):
        # sigmoid scores 3/4, 1/2 | 2/3, 2/3: sums 1.25 and 1.33, the second group wins; its ties go to expert 2
        logits = LN(np.array([[3.0, 1.0, 2.0, 2.0]]))
        self.check(block("deepseek_v3", 4, 2, groups=2, kept_groups=1, scale=2.5), [[2, 3]], [[1.25, 1.25]], logits=logits)
        # softmax 3/8, 1/8 | 2/8, 2/8: the first group has the highest member
        self.check(block("deepseek_v2", 4, 2, groups=2, kept_groups=1), [[0, 1]], [[3 / 8, 1 / 8]], logits=logits)

    def test_negative_bias_stays_inside_the_kept_group(self):
        logits = LN(np.array([[3.0, 1.0, 1.0, 1.0]]))
        bias = {"bias": np.array([0.0, -2.0, -2.0, -2.0])}
        self.check(block("deepseek_v3", 4, 2, groups=2, kept_groups=1), [[0, 1]], [[0.6, 0.4]], logits=logits, inputs=bias)

    def test_sqrtsoftplus(self):
        s = [np.sqrt(LN(4.0)), np.sqrt(LN(3.0))]  # softplus(ln 3) = ln 4
        self.check(block("top_k", 3, 2, score="sqrtsoftplus", normalize=False), [[0, 1]], [s], logits=LN([[3.0, 2.0, 1.0]]))

    def test_gshard_second_expert(self):
        u = hashing.Draws(1, 0, 0).uniform(hashing.SECOND_EXPERT, np.arange(64))
        logits = np.tile(LN([[6.0, 2.0, 1.0]]), (64, 1))  # the second's share is 1/4: taken iff U < 1/2
        out = route({"logits": logits}, block("gshard", 3, 2), training=True)
        np.testing.assert_array_equal(out["expert_ids"][:, 0], np.zeros(64))
        np.testing.assert_array_equal(out["expert_ids"][:, 1] == 1, u < 0.5)
        np.testing.assert_allclose(out["weights"][:, 0], 0.75)
        self.assertEqual(out["counts"].tolist(), [64, (u < 0.5).sum(), 0])
        self.check(block("gshard", 3, 2), [[0, 1]], [[0.75, 0.25]], logits=logits[:1])

    def test_noise_moves_selection_and_weights(self):
        noise = {"noise": LN(np.array([[1.0, 1.0, 4.0], [1.0, 1.0, 1.0]]))}  # h = ln 5, ln 3, ln 8
        self.check(block("noisy_top_k", 3, 2), [[2, 0], [2, 0]], [[8 / 13, 5 / 13], [6 / 8, 2 / 8]], inputs=noise,
                   training=True)
        self.check(block("noisy_top_k", 3, 2), [[0, 1], [2, 0]], [[5 / 8, 3 / 8], [6 / 8, 2 / 8]])

    def test_expert_choice(self):
        # n = ceil(1 * 4 / 2) = 2; expert 0 takes tokens 0, 1 and expert 1 tokens 3, 2
        p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
        out = self.check(block("expert_choice", 2, 1), [[0], [0], [1], [1]], [[0.9], [0.8], [0.3], [0.4]], logits=LN(p))
        self.assertEqual(out["slot"].tolist(), [[0], [1], [1], [0]])
        out = self.check(block("expert_choice", 2, 1, pool={"tokens": 2}), [[0], [1], [0], [1]],
                         [[0.9], [0.2], [0.7], [0.4]], logits=LN(p))
        self.assertEqual(out["counts"].tolist(), [2, 2])

    def test_hash(self):
        tokens = np.array([3, 1, 3, 3, 1, 0])
        out = route({"logits": np.zeros((6, 4)), "tokens": tokens}, block("hash", 4, 2), vocab_size=5)
        ids = out["expert_ids"]
        np.testing.assert_array_equal(ids[0], ids[2])
        first = [int(hashing.name_hash(1, 41, 3, j)) % 4 for j in range(20)]
        self.assertEqual(ids[0].tolist(), list(dict.fromkeys(first))[:2])
        # balanced: 3 (thrice) to 0, 1 (twice) to 1, 0 (once) to the less loaded 1
        out = route({"logits": np.zeros((6, 2)), "tokens": tokens}, block("hash", 2, 1, table="balanced"), vocab_size=5)
        self.assertEqual(out["expert_ids"][:, 0].tolist(), [0, 1, 0, 0, 1, 1])
        out = route({"logits": np.zeros((6, 64)), "tokens": tokens}, block("hash", 64, 1, table="bigram"), vocab_size=5,
                    sequence_length=3)
        self.assertEqual(out["expert_ids"][3, 0], int(hashing.name_hash(1, 43, 5, 3, 0)) % 64)
        self.assertEqual(out["expert_ids"][2, 0], int(hashing.name_hash(1, 43, 1, 3, 0)) % 64)

    def test_base_is_optimal(self):
        import itertools
        rng = np.random.default_rng(0)
        for tokens, experts in ((6, 3), (7, 3), (8, 4), (5, 4)):
            logits = rng.normal(size=(tokens, experts))
            assigned = batch_choice.balanced_assignment(logits)
            best = -np.inf
            for guess in itertools.product(range(experts), repeat=tokens):
                load = np.bincount(guess, minlength=experts)
                if load.min() >= tokens // experts and load.max() <= -(-tokens // experts):
                    best = max(best, logits[np.arange(tokens), list(guess)].sum())
            self.assertAlmostEqual(logits[np.arange(tokens), assigned].sum(), best, places=12)
        self.check(block("base", 2, 1), [[0], [1]], [[0.9], [0.2]], logits=LN([[9.0, 1 / 9], [4.0, 0.25]]), training=True)
        self.check(block("base", 2, 1), [[0], [0]], [[0.9], [0.8]], logits=LN([[9.0, 1 / 9], [4.0, 0.25]]))

    def test_sinkhorn_balances(self):
        # both prefer expert 0; token 1 less, so the plan sends it to expert 1
        logits = LN([[9.0, 1.0], [4.0, 1.0]])
        self.check(block("sinkhorn", 2, 1), [[0], [1]], [[0.9], [0.5]], logits=logits, training=True)
        self.check(block("sinkhorn", 2, 1), [[0], [0]], [[0.9], [0.8]], logits=logits)

    def test_relu_takes_the_positive(self):
        out = self.check(block("relu", 3, 1), [[2, 0], [-1, -1]], [[2.0, 1.0], [0.0, 0.0]],
                         logits=np.array([[1.0, -1.0, 2.0], [-1.0, 0.0, -2.0]]))
        self.assertEqual(out["slot"].tolist(), [[0, 0], [-1, -1]])

    def test_gumbel_weighs_by_clean_scores(self):
        self.check(block("gumbel", 3, 2), [[0, 1], [2, 0]], [[5 / 8, 3 / 8], [6 / 8, 2 / 8]])
        g = hashing.Draws(1, 0, 0).gumbel(hashing.GUMBEL, np.arange(2)[:, None], np.arange(3)[None, :])
        ids = (self.logits + g).argmax(axis=1)
        self.check(block("gumbel", 3, 1), ids[:, None], np.exp(self.logits)[[0, 1], ids][:, None] / 10, training=True)

    def test_hierarchical(self):
        # groups 0.6, 0.4; inside 0.75, 0.25 and 0.5, 0.5: products 0.45, 0.15, 0.2, 0.2
        logits = LN([[6.0, 4.0, 3.0, 1.0, 1.0, 1.0]])
        self.check(block("hierarchical", 4, 2, branches=[2, 2], kept=[2, 1]), [[0, 2]], [[45 / 65, 20 / 65]], logits=logits)
        self.check(block("hierarchical", 4, 2, branches=[2, 2], kept=[1, 2]), [[0, 1]], [[0.75, 0.25]], logits=logits)


class Capacities(unittest.TestCase):
    # scores: all four prefer expert 0, with 0.5, 0.6, 0.7, 0.4
    logits = LN(np.array([[5.0, 3, 2], [6.0, 1, 3], [7.0, 2, 1], [4.0, 3.5, 2.5]]))

    def run_top1(self, training=False, kind="deepseek_moe", k=1, **capacity):
        return route({"logits": self.logits}, block(kind, 3, k, capacity=capacity), training)

    def test_limit_at_exact_integers(self):
        context = Context(1, 1, None)
        self.assertEqual(limit(10, context, {}, 1.1), 11)  # 1.1 * 10 is a little above 11 in binary
        self.assertEqual(limit(10, context, {}, 1.11), 12)
        self.assertEqual(limit(10, context, {"min": 20}, 1.1), 20)

    def test_orders(self):
        # C = ceil(1.5 * 4 / 3) = 2
        self.assertEqual(self.run_top1(factor=1.5)["slot"][:, 0].tolist(), [0, 1, -1, -1])
        by_weight = self.run_top1(factor=1.5, order="probability")
        self.assertEqual(by_weight["slot"][:, 0].tolist(), [-1, 1, 0, -1])
        self.assertEqual(by_weight["counts"].tolist(), [4, 0, 0])
        self.assertEqual(self.run_top1(factor=1.5, order="batch_priority")["slot"][:, 0].tolist(), [-1, 1, 0, -1])
        u = hashing.Draws(1, 0, 0).uniform(7, np.arange(4))
        kept = self.run_top1(True, factor=1.5, order="random")["kept"][:, 0]
        self.assertEqual(set(np.nonzero(kept)[0]), set(np.argsort(u)[:2]))

    def test_scopes_restart(self):
        out = route({"logits": self.logits}, block("deepseek_moe", 3, 1, capacity={"factor": 1.0, "scope": "sequence"}),
                    sequence_length=2)  # C = ceil(2 / 3) = 1 in each
        self.assertEqual(out["slot"][:, 0].tolist(), [0, -1, 0, -1])
        out = route({"logits": self.logits}, block("deepseek_moe", 3, 1, capacity={"factor": 1.0, "scope": {"sequences": 3}}),
                    sequence_length=1)  # groups of 3 and 1 tokens, C = 1
        self.assertEqual(out["slot"][:, 0].tolist(), [0, -1, -1, 0])

    def test_eval_factor(self):
        out = self.run_top1(factor=1.5, eval_factor=3.0)
        self.assertEqual(out["slot"][:, 0].tolist(), [0, 1, 2, 3])

    def test_next_choice(self):
        out = self.run_top1(factor=1.5, overflow="next_choice")
        # C = 2: tokens 0, 1 stay; 2 goes to its second, expert 1; 3 to its second, expert 1
        self.assertEqual(out["expert_ids"][:, 0].tolist(), [0, 0, 1, 1])
        self.assertEqual(out["slot"][:, 0].tolist(), [0, 1, 0, 1])
        np.testing.assert_allclose(out["weights"][:, 0], [0.5, 0.6, 0.2, 0.35])
        self.assertEqual(out["counts"].tolist(), [4, 0, 0])

    def test_next_choice_with_normalised_weights(self):
        # K = 2, C = ceil(0.75 * 2 * 4 / 3) = 2. First choices: tokens 0, 1 fill expert 0. Second: 1, 2, 1, 1: tokens 0, 2
        # fill expert 1, token 1 has expert 2. Refused in order: (2, first) walks to 2; (3, first), (3, second) find no room.
        out = self.run_top1(kind="mixtral", k=2, factor=0.75, overflow="next_choice")
        self.assertEqual(out["expert_ids"].tolist(), [[0, 1], [0, 2], [2, 1], [0, 1]])
        self.assertEqual(out["kept"].tolist(), [[1, 1], [1, 1], [1, 1], [0, 0]])
        np.testing.assert_allclose(out["weights"], [[5 / 8, 3 / 8], [6 / 9, 3 / 9], [1 / 3, 2 / 3], [4 / 7.5, 3.5 / 7.5]])

    def test_renormalize(self):
        out = self.run_top1(kind="mixtral", k=2, factor=0.75, renormalize=True)
        np.testing.assert_allclose(out["weights"][2], [7 / 9, 1.0])  # first refused, second alone
        np.testing.assert_allclose(out["weights"][1], [6 / 9, 3 / 9])


class Terms(unittest.TestCase):
    logits = LN(np.array([[5.0, 3, 2], [6.0, 1, 3], [2.0, 2.5, 5.5], [1.0, 5.0, 4.0]]))

    def value(self, term, kind="deepseek_moe", k=1, **rest):
        return route({"logits": self.logits}, block(kind, 3, k, balance=[term]), **rest)["term.0"][0]

    def test_load_balance(self):
        # f = 1/2, 1/4, 1/4; P = 1.4/4, 1.15/4, 1.45/4
        self.assertAlmostEqual(self.value({"type": "load_balance"}), 3 * (0.5 * 1.4 + 0.25 * 1.15 + 0.25 * 1.45) / 4)
        # two sequences of two tokens: f = (1, 0, 0), (0, 1/2, 1/2)
        by_sequence = 3 * (1.1 / 2 * 0.5 + (0.5 * 0.75 + 0.5 * 0.95) / 2 * 0.5)
        self.assertAlmostEqual(self.value({"type": "sequence"}, sequence_length=2), by_sequence)

    def test_groups(self):
        # D = 3 groups of one expert, K = 1: device is load_balance; communication: M = 1, f'' = 3 f
        expected = self.value({"type": "load_balance"})
        self.assertAlmostEqual(self.value({"type": "device", "groups": 3}), expected)
        self.assertAlmostEqual(self.value({"type": "communication", "groups": 3}), expected)
        self.assertAlmostEqual(self.value({"type": "communication", "groups": 1}), 1.0)

    def test_communication_counts_the_groups_that_a_token_can_reach(self):
        # Both experts of the one half that is kept: M = 1, f'' = 2. Without a limit: M = 2, f'' = 1.
        logits, term = LN(np.array([[0.4, 0.3, 0.2, 0.1]])), {"type": "communication", "groups": 2}
        limited = block("top_k", 4, 2, groups=2, kept_groups=1, balance=[term])
        self.assertAlmostEqual(route({"logits": logits}, limited)["term.0"][0], 2 * 0.7)
        self.assertAlmostEqual(route({"logits": logits}, block("top_k", 4, 2, balance=[term]))["term.0"][0], 0.7)
        # The kept half holds two of four groups: M = 2 as without a limit.
        finer = {"type": "communication", "groups": 4}
        both = [route({"logits": logits}, block("top_k", 4, 2, balance=[finer], **limit))["term.0"][0]
                for limit in ({"groups": 2, "kept_groups": 1}, {})]
        self.assertAlmostEqual(both[0], both[1])
        # Experts 0 and 1 of the better branch, one group of 2: M = 1, f'' = 2.
        branches = block("hierarchical", 4, 2, branches=[2, 2], kept=[1, 2], balance=[term])
        logits = LN(np.array([[6.0, 4.0, 3.0, 1.0, 1.0, 1.0]]))
        self.assertAlmostEqual(route({"logits": logits}, branches)["term.0"][0], 2 * 0.6)

    def test_relu_l1(self):
        # a = (E/K) * (1, 1/2) = (2, 1); (2 * 3 + 1 * 3) / 2; gradient a/T where s > 0
        logits = np.array([[2.0, -1.0], [1.0, 3.0]])
        out = route({"logits": logits}, block("relu", 2, 1, balance=[{"type": "relu_l1"}]))
        self.assertAlmostEqual(out["term.0"][0], 4.5)
        np.testing.assert_allclose(out["term_grad.0"], [[1.0, 0.0], [1.0, 0.5]])

    def test_orthogonal(self):
        # W W^T - I = ((4, 2), (2, 0))
        weight = np.array([[1.0, 2.0], [0.0, 1.0]])
        value, gradient = terms.orthogonal(weight)
        self.assertAlmostEqual(value, 8.0)
        np.testing.assert_allclose(gradient, [[2.0, 6.0], [2.0, 4.0]])
        self.assertAlmostEqual(terms.orthogonal(np.eye(3))[0], 0.0)

    def test_magnitudes(self):
        p = np.array([1.4, 1.15, 1.45]) / 4
        self.assertAlmostEqual(self.value({"type": "entropy"}), LN(3) + (p * LN(p)).sum())
        self.assertAlmostEqual(self.value({"type": "z"}), LN(10)**2)
        q = np.exp(self.logits) / 10
        self.assertAlmostEqual(self.value({"type": "token_entropy"}), -(q * LN(q)).sum() / 4)

    def test_importance(self):
        # combine weights 0.5 + 0.6, 0.5, 0.55: mean 2.15/3
        x = np.array([1.1, 0.5, 0.55])
        self.assertAlmostEqual(self.value({"type": "importance"}), x.var() / x.mean()**2)

    def test_load_through_the_normal_law(self):
        # K = 1, no noise: thresholds ln 3 for expert 0, ln 5 for the others; sigma = ln 2 + 0.01
        moe = block("noisy_top_k", 3, 1, balance=[{"type": "load"}])
        context = Context(3, 1, None, True)
        decision = decide(moe["router"], self.logits[:1], None, np.zeros((1, 3)), context)
        sigma = LN(2) + 0.01
        np.testing.assert_allclose(decision.load[0], m.normal_cdf(np.array([LN(5 / 3), LN(3 / 5), LN(2 / 5)]) / sigma))
        self.assertAlmostEqual(float(m.normal_cdf(np.array([1.0]))[0]), 0.8413447460685429)

    def test_one_at_balance(self):
        logits = np.zeros((4, 4))
        logits[np.arange(4), np.arange(4)] = 1.0
        names = {"load_balance": 1, "importance": 0, "entropy": 0}
        for name, wanted in names.items():
            out = route({"logits": logits}, block("deepseek_moe", 4, 1, balance=[{"type": name}]))
            self.assertAlmostEqual(out["term.0"][0], wanted)

    def test_gradients_by_differences(self):
        rng = np.random.default_rng(1)
        kinds = [("deepseek_moe", 2, {}), ("top_k", 2, {"score": "sigmoid"}), ("top_k", 2, {"score": "sqrtsoftplus"}),
                 ("mixtral", 2, {}), ("gshard", 2, {}), ("noisy_top_k", 2, {}), ("relu", 2, {}), ("soft", 2, {}),
                 ("expert_choice", 2, {}), ("sinkhorn", 2, {}), ("sinkhorn", 1, {}), ("base", 1, {}),
                 ("hierarchical", 2, {"branches": [2, 3], "kept": [2, 1]})]
        kinds_of_term = ["load_balance", "importance", "z", "entropy", "token_entropy", "load", "device", "communication"]
        for kind, k, options in kinds:
            for name in kinds_of_term:
                if name == "load" and kind != "noisy_top_k":
                    continue
                term = {"type": name, **({"groups": 3} if name in ("device", "communication") else {})}
                moe = block(kind, 6, k, balance=[term], **options)
                columns = 8 if kind == "hierarchical" else 6
                inputs = {"logits": rng.normal(size=(5, columns))}
                if kind == "noisy_top_k":
                    inputs["noise"] = rng.normal(size=(5, columns))
                gradient = route(inputs, moe, True)["term_grad.0"]
                for _ in range(6):
                    where = rng.integers(5), rng.integers(columns)
                    values = []
                    for step in (1e-5, -1e-5):
                        moved = inputs["logits"].copy()
                        moved[where] += step
                        values.append(route({**inputs, "logits": moved}, moe, True)["term.0"][0])
                    self.assertAlmostEqual(gradient[where], (values[0] - values[1]) / 2e-5, delta=2e-7, msg=f"{kind} {name}")


class Biases(unittest.TestCase):
    logits = LN(np.array([[5.0, 3, 2], [6.0, 1, 3], [2.0, 2.5, 5.5]]))  # counts 2, 0, 1, mean 1

    def new_bias(self, **rule):
        return route({"logits": self.logits}, block("deepseek_moe", 3, 1, bias=rule))["new_bias"]

    def test_rules(self):
        np.testing.assert_allclose(self.new_bias(type="sign", rate=0.1), [-0.1, 0.1, 0.0])
        np.testing.assert_allclose(self.new_bias(type="proportional", rate=0.1), [-0.1, 0.1, 0.0])
        np.testing.assert_allclose(self.new_bias(type="multiplicative", rate=0.1), [0.9, 1.1, 1.0])
        np.testing.assert_allclose(self.new_bias(type="pid", kp=0.1, ki=0.01, kd=0.0), [-0.11, 0.11, 0.0])
        np.testing.assert_allclose(self.new_bias(type="sign", rate=0.1, freeze_after=0), [0, 0, 0])

    def test_quantile_balances(self):
        # Every token prefers expert 0. K = 1, E = T = 2: theta = second best score = 0.3, 0.45; margins of expert 0:
        # 0.4, 0.1, of expert 1: 0, 0. Rank floor(2 * 1 / 2) + 1 = 2: b = -0.1, 0; minus the mean: -0.05, 0.05.
        logits = LN(np.array([[0.7, 0.3], [0.55, 0.45]]))
        out = route({"logits": logits}, block("deepseek_moe", 2, 1, bias={"type": "quantile"}))
        np.testing.assert_allclose(out["new_bias"], [-0.05, 0.05])
        moved = route({"logits": logits, "bias": out["new_bias"] + np.array([-1e-9, 1e-9])}, block("deepseek_moe", 2, 1))
        self.assertEqual(moved["counts"].tolist(), [1, 1])

    def test_quantile_takes_four_tokens_over_four_experts(self):
        # Sixteenths. K = 1: experts 0, 1, 0, 1. Theta, the second largest: 4, 4, 7, 7. Margins of expert 0: 6, 0, 1, -5, of
        # expert 1: 0, 6, -5, 1, of expert 2: -2, -4, 0, -7, of expert 3: -4, -2, -7, 0. The second largest of each:
        # 1, 1, -2, -2; b = -that less its mean 0.5.
        s = np.array([[10.0, 4, 2, 0], [4, 10, 0, 2], [8, 2, 7, 0], [2, 8, 0, 7]]) / 16
        logits = np.where(s > 0, LN(np.where(s > 0, s, 1.0) / (1 - s)), -1e3)
        moe = block("top_k", 4, 1, score="sigmoid", normalize=False, bias={"type": "quantile"})
        out = route({"logits": logits}, moe)
        self.assertEqual(out["counts"].tolist(), [2, 2, 0, 0])
        np.testing.assert_allclose(out["new_bias"], np.array([-1.5, -1.5, 1.5, 1.5]) / 16, atol=1e-15)
        self.assertEqual(route({"logits": logits, "bias": out["new_bias"]}, moe)["counts"].tolist(), [1, 1, 1, 1])


class Grid(unittest.TestCase):
    def test_every_order_overflow_and_scope_is_in_both(self):
        every = combinations.combinations(16)
        for found in (every, combinations.reduced(every)):
            rules = [c.moe["capacity"] for c in found if c.moe.get("capacity", {}).get("order")]
            self.assertEqual(len({(r["order"], r["overflow"], str(r["scope"])) for r in rules}), 4 * 2 * 3)

    def test_the_reduced_grid_leaves_no_feature_out(self):
        every = combinations.combinations(16)
        some = combinations.reduced(every)
        self.assertLess(len(some), len(every) / 5)
        for wanted in (lambda c: c.moe["router"]["type"], lambda c: c.dtype, lambda c: c.inputs,
                       lambda c: str(c.moe.get("bias"))):
            self.assertEqual({wanted(c) for c in some}, {wanted(c) for c in every})
        self.assertIn("load", {term["type"] for c in some for term in c.moe["balance"]})
        self.assertTrue(any("bias" in c.moe and c.moe.get("capacity") for c in some))

    def test_a_missing_metric_is_a_difference(self):
        expected = {"counts": np.array([1, 1]), "kept": np.array([[1], [1]]), "expert_ids": np.array([[0], [1]])}
        self.assertEqual(set(grid.metrics_of({}, expected, {"load_max": 1.0, "drop_rate": None}).values()), {0.0, np.inf})


if __name__ == "__main__":
    unittest.main()
