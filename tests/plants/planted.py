"""Faults that the tests must find: one piece of text each, of the core, the bindings, the package or an adapter."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    name: str
    file: str
    text: str  # occurs once
    wrong: str  # in its place
    tests: str  # where it should be found, else all tests are run; or files of C++ tests
    targets: tuple[str, ...] = ()  # of the search of tests/attack, which is to find it too
    isa: str = ""  # the level that has it; else the best


CORE, BINDINGS, PACKAGE = "cpp/src/", "cpp/bindings/", "python/crossent/"

FAULTS = [
    # ---- The core ----------------------------------------------------------------------------------------------------
    Fault("mean over less than one row", CORE + "rows/reduction.cpp", "rounded(sum) / denominator;",
          "rounded(sum) / std::max(denominator, 1.0);", "tests/losses"),
    Fault("a share of 0 of an infinite loss", CORE + "rows/reduction.cpp",
          "return share == 0 && std::isinf(term) ? 0 : share * term;", "return share * term;", "tests/losses"),
    Fault("ignore_index of unsigned targets", CORE + "rows/row_inputs.cpp", "(std::is_signed_v<I> || ignore >= 0)",
          "std::is_signed_v<I>", "tests/contract/test_edge_cases.py"),
    Fault("ignore_index that is a class", CORE + "rows/row_inputs.cpp", "const bool absent = may_ignore & equal;",
          "const bool absent = may_ignore & equal & (ignore < 0);", "tests/contract/test_edge_cases_of_losses.py"),
    Fault("z-loss of a class of weight 0", CORE + "rows/row_inputs.cpp", "smoothed_ || has_other_terms_ || all;",
          "smoothed_ || all;", "tests/losses/test_cross_entropy.py"),
    Fault("upstream gradient of a distillation", CORE + "ops/cross_entropy_term.cpp", "if (share_ != 1)",
          "if (share_ > 1)", "tests/losses/test_distillation_loss.py"),
    Fault("smoothing over the classes of a shard", CORE + "ops/cross_entropy_term.cpp",
          "if (whole_classes_ != plan_.classes)", "if (whole_classes_ < plan_.classes)", "tests/parallel"),
    Fault("class weights with gaps", CORE + "ops/cross_entropy_term.cpp", "strides[0] == size ||",
          "strides[0] >= size ||",
          "tests/losses/test_cross_entropy.py tests/contract/test_layouts.py tests/contract/test_layouts_of_losses.py"),
    Fault("axes merged that do not follow each other", CORE + "core/layout.hpp",
          "stride_[axes_ - 1] == strides[d] * shape[d]", "stride_[axes_ - 1] >= strides[d] * shape[d]",
          "tests/contract/test_layouts.py"),
    Fault("ties of bfloat16", CORE + "core/half.hpp", "(u + 0x7fffu + even) >> 16", "(u + 0x8000u) >> 16",
          "tests/contract/test_bits.py tests/losses"),
    Fault("float16 just below infinity", CORE + "core/half.hpp", "rest >= 0x477ff000u", "rest > 0x477fe000u",
          "cpp/tests/test_half.cpp"),
    Fault("the tree of many blocks", CORE + "core/merge_tree.hpp", "groups % 2 == 0;", "groups % 2 == 0 && groups < 3;",
          "cpp/tests/test_merge_tree.cpp"),
    Fault("flushed subnormals", CORE + "core/fp_environment.hpp", "_mm_setcsr(0x1f80);", "_mm_setcsr(saved_);",
          "tests/contract/test_environment.py tests/contract/test_invariants_environment.py"),
    # Without the rounding errors of its table.
    Fault("an exponential of 1.1 ULP", CORE + "kernels/math/exp.hpp", "set1(1.0f)), lo);", "set1(1.0f)), lo - lo);",
          "tests/contract/test_bits.py", ("softmax of two classes: plain, float32", "log_softmax: plain, float32")),
    Fault("one more rounding in a sum", CORE + "kernels/walk/definition.hpp", "plain_packs = sizeof(T) == 4 ? 2 : 1;",
          "plain_packs = sizeof(T) == 4 ? 4 : 1;", "tests/contract/test_bits.py",
          ("log_softmax: plain, float32", "cross_entropy loss: plain, float32")),
    # Two equal maxima, the others far below: a tail of hardly more than 1 is taken for that of a maximum alone.
    Fault("a tie for the maximum", CORE + "ops/cross_entropy_term.hpp", "statistics.tail[i] < alone;",
          "statistics.tail[i] < 1 + 0x1p-20;", "tests/contract/test_ties.py",
          ("cross_entropy probabilities gradient: plain, float32",
           "cross_entropy probabilities gradient: plain, float64")),
    Fault("the base of a logarithm", CORE + "ops/information.cpp", "row_with_tiny(i) / unit_of_logarithm;",
          "row_with_tiny(i);", "tests/losses/test_information.py"),
    Fault("binary cross-entropy where p is tiny", CORE + "kernels/loss/elementwise.hpp",
          "select(t.p < set1(k::tiny), set1(power_of_two<T>(k::reciprocal_exponent)), one);", "one;",
          "tests/losses/test_binary_cross_entropy.py"),
    Fault("the floor of a logarithm", CORE + "kernels/loss/elementwise.hpp", "at_least(log1p(-t.p), floor);",
          "log1p(-t.p);",
          "tests/losses/test_binary_cross_entropy.py"),
    Fault("infinite logits of weight 0", CORE + "kernels/loss/elementwise.hpp",
          "x = select(t.a != zero, t.x, zero), l = log1p_of", "x = t.x, l = log1p_of",
          "tests/losses/test_binary_cross_entropy.py tests/contract/test_edge_cases_infinite.py"),
    Fault("tiny temperatures of softmax_backward", CORE + "kernels/loss/backward.hpp",
          "power(temperature < 0x1p-800 ? 0x1p128 : 1) {}", "power(1) {}", "tests/losses/test_tiny_temperatures.py"),
    Fault("the logarithm of 2 without FMA", CORE + "kernels/math/constants.hpp", ": -0x1.bd0106p-13f;",
          ": -0x1.bd01p-13f;", "tests/contract/test_bits.py", isa="baseline"),
    # ---- The bindings ------------------------------------------------------------------------------------------------
    Fault("an output that overlaps an input", BINDINGS + "outputs.cpp",
          "return of_a.end <= of_b.begin || of_b.end <= of_a.begin;", "return true;",
          "tests/contract/test_odd_outputs.py"),
    Fault("an output that is read-only", BINDINGS + "outputs.cpp",
          "  if (!to.has(numpy::NPY_ARRAY_WRITEABLE_)) return false;\n", "", "tests/contract"),
    # ---- The package -------------------------------------------------------------------------------------------------
    Fault("results that cannot be views", PACKAGE + "_axes.py", "if not np.may_share_memory(to, result):", "if False:",
          "tests/losses/test_axes.py"),
    Fault("no rows of no classes", PACKAGE + "_axes.py", "self.count == 0 and 0 not in self.rows and",
          "self.count == 0 and",
          "tests/losses/test_axes.py tests/contract"),
    Fault("top_k of all classes", PACKAGE + "_numbers.py", "if not 0 <= k <= classes:", "if not 0 <= k < classes:",
          "tests/losses/test_row_statistics.py"),
    Fault("label_smoothing above 1", PACKAGE + "_numbers.py", '"label_smoothing": fraction,',
          '"label_smoothing": at_least_zero,', "tests/parallel tests/dask_arrays tests/jax_arrays"),
    Fault("limits of threads that are nested", PACKAGE + "_threads.py", "_limits.set((*_limits.get(), self._n))",
          "_limits.set((self._n,))", "tests/contract/test_threads.py"),
    Fault("siblings in the tree of shards", PACKAGE + "parallel/_state.py", "left.begin % (2 * size) == 0",
          "left.begin % size == 0", "tests/parallel"),
    Fault("rows that no shard has", PACKAGE + "parallel/_state.py", "if self.start and self.stop > self.start:",
          "if False:", "tests/parallel"),
    Fault("edges of bins", PACKAGE + "evaluation/_calibration.py", "np.searchsorted(edges, confidence)",
          'np.searchsorted(edges, confidence, "right")', "tests/evaluation/test_calibration_error.py"),
    Fault("the variance of few", PACKAGE + "evaluation/_statistics.py", "count / (count - 1) * squares", "squares",
          "tests/evaluation"),
    # ---- Adapters ----------------------------------------------------------------------------------------------------
    Fault("LightGBM's factor of the Hessian", PACKAGE + "boosting.py", "self.n_classes / (self.n_classes - 1), 0.0",
          "1.0, 0.0",
          "tests/boosting"),
    Fault("weights of a metric", PACKAGE + "boosting.py", "np.average(losses, weights=rows.weights)",
          "np.average(losses)",
          "tests/boosting"),
    Fault("C against the weights of rows", PACKAGE + "sklearn/_softmax_regression.py", "1 / (self.C * weight_of_rows)",
          "1 / (self.C * len(target))", "tests/scikit_learn"),
    Fault("options of a target that is not there", PACKAGE + "jax/_arguments.py",
          "        refuse_options_of_target(self.given)\n", "", "tests/jax_arrays"),
    Fault("targets that JAX would wrap", PACKAGE + "jax/_arguments.py", 'if wide.dtype.kind in "iu" and',
          'if wide.dtype.kind in "u" and', "tests/jax_arrays"),
    Fault("second derivatives of a z-loss", PACKAGE + "torch/_losses.py", "    if z_loss:\n", "    if z_loss > 1:\n",
          "tests/pytorch"),
    Fault("the denominator of a Dask array", PACKAGE + "dask/_arrays.py",
          "given_denominators(reduction, denominator, 1) or sums.denominators", "sums.denominators",
          "tests/dask_arrays"),
    Fault("rows of Dask blocks out of order", PACKAGE + "dask/_arrays.py", 'in_order=reduction != "none"',
          "in_order=False", "tests/dask_arrays"),
]
