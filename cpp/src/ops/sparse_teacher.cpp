#include "ops/sparse_teacher.hpp"

#include <algorithm>
#include <atomic>
#include <limits>

#include "core/kernels.hpp"
#include "core/parallel.hpp"

namespace crossent {
namespace {

// How far above 1 probabilities may add up: more than rounding to bfloat16 does.
constexpr double most_sum = 1 + 0x1p-5;

// A view with one axis moved behind the others.
template <class View> struct with_last_axis {
  index shape[max_axes], strides[max_axes];
  View moved;

  with_last_axis(const View& v, int axis) : moved(v) {
    int to = 0;
    for (int d = 0; d < v.ndim; ++d) {
      if (d == axis) continue;
      shape[to] = v.shape[d];
      strides[to++] = v.strides[d];
    }
    shape[to] = v.shape[axis];
    strides[to] = v.strides[axis];
    moved.shape = shape;
    moved.strides = strides;
  }
};

index size_of(const index_view& v) {
  index size = 1;
  for (int d = 0; d < v.ndim; ++d) size *= v.shape[d];
  return size;
}

// As class indices of rows, which are checked at once.
row_loss_options padded_with_minus_one() {
  row_loss_options options;
  options.ignore_index = -1;
  options.reduction = reduction_kind::none;
  return options;
}

int bits_of(index n) {
  int bits = 0;
  for (; n > 0; n /= 2) ++bits;
  return bits;
}

index padded(std::size_t n) { return (static_cast<index>(n) + pack_rows - 1) / pack_rows * pack_rows; }

// The first of what several threads have found.
void note_first(std::atomic<index>& first, index found) {
  index seen = first.load();
  while (found < seen && !first.compare_exchange_weak(seen, found)) {
  }
}

}  // namespace

sparse_teacher::sparse_teacher(const index_view& classes, const view& values, const sparse_teacher_options& options, int axis,
                               index count, double temperature, dtype arithmetic, const execution& e)
    : options_(options),
      is_normalised_(options.values == teacher_values::weights || options.tail == teacher_tail::renormalize ||
                     (options.values == teacher_values::logits && options.logsumexp.data == nullptr)),
      listed_(classes.shape[axis]),
      position_bits_(bits_of(listed_)),
      classes_(with_last_axis(classes, axis).moved, size_of(classes), padded_with_minus_one(), count, arithmetic, true, e),
      values_(with_last_axis(values, axis).moved, arithmetic),
      logsumexp_(options.logsumexp, arithmetic),
      inverse_(kernels(dtype::float64).inverse_temperature_of(temperature)) {}

void sparse_teacher::read(index number, row& out) const {
  const std::size_t n = static_cast<std::size_t>(listed_), room = static_cast<std::size_t>(padded(n));
  out.listed.resize(n);
  out.value.assign(room, 0.0);
  out.listed_weight.resize(room);
  out.listed_weight_lo.assign(room, 0.0);
  classes_.read(number * listed_, listed_, out.listed.data());
  values_.load(number * listed_, listed_, out.value.data());
}

// Where the sum of the weights is divided by, they are counted from the largest.
void sparse_teacher::weigh(index number, row& out) const {
  if (options_.values == teacher_values::probs || options_.values == teacher_values::weights) {
    out.listed_weight = out.value;
    return;
  }
  constexpr double lowest = -std::numeric_limits<double>::infinity();
  double max = 0, logsumexp = 0;
  if (is_normalised_) {
    max = lowest;
    for (std::size_t k = 0; k < out.listed.size(); ++k)
      if (out.listed[k] >= 0 && out.value[k] > max) max = out.value[k];
    if (max == lowest) max = 0;
  } else if (logsumexp_.given()) {
    logsumexp_.load(number, 1, &logsumexp);
  }
  kernels().exp_of_gaps(listed_, out.value.data(), max, inverse_, logsumexp, out.listed_weight.data(),
                        out.listed_weight_lo.data());
}

void sparse_teacher::load(index number, row& out) const {
  read(number, out);
  weigh(number, out);
  // By class, then by position, as one number.
  out.order.clear();
  for (index k = 0; k < listed_; ++k)
    if (const index c = out.listed[static_cast<std::size_t>(k)]; c >= 0) out.order.push_back(c << position_bits_ | k);
  std::sort(out.order.begin(), out.order.end());
  out.classes.clear();
  out.weight.clear();
  out.weight_lo.clear();
  for (const index at : out.order) {
    const index c = at >> position_bits_;
    const std::size_t k = static_cast<std::size_t>(at - (c << position_bits_));
    double_double<double> weight{out.listed_weight[k], out.listed_weight_lo[k]};
    if (!out.classes.empty() && out.classes.back() == c) {
      weight = double_double<double>{out.weight.back(), out.weight_lo.back()} + weight;
      out.weight.back() = weight.hi;
      out.weight_lo.back() = weight.lo;
      continue;
    }
    out.classes.push_back(c);
    out.weight.push_back(weight.hi);
    out.weight_lo.push_back(weight.lo);
  }
}

void sparse_teacher::check(index rows, const execution& e) const {
  const bool is_bounded = options_.values == teacher_values::probs || options_.values == teacher_values::weights;
  if (!is_bounded && is_normalised_) return;
  const double most = options_.values == teacher_values::probs ? 1 : std::numeric_limits<double>::max();
  constexpr index none = std::numeric_limits<index>::max();
  std::atomic<index> first_value{none}, first_row{none};
  const auto sum_of = [&](index i, row& r) {
    read(i, r);
    weigh(i, r);
    double sum = 0;
    for (std::size_t k = 0; k < r.listed.size(); ++k) {
      if (r.listed[k] < 0) continue;
      if (is_bounded && !(0 <= r.value[k] && r.value[k] <= most)) note_first(first_value, i * listed_ + static_cast<index>(k));
      sum += r.listed_weight[k];
    }
    return sum;
  };
  parallel_for(rows, listed_ + 1, threads_for(rows * listed_, e), e, [&](index begin, index end, int) {
    row r;
    for (index i = begin; i < end; ++i)
      if (sum_of(i, r) > most_sum && !is_normalised_) note_first(first_row, i);
  });
  row r;
  if (const index at = first_value.load(); at != none) {
    read(at / listed_, r);
    throw teacher_error{{at, r.value[static_cast<std::size_t>(at % listed_)]}, false};
  }
  if (const index at = first_row.load(); at != none) throw teacher_error{{at, sum_of(at, r)}, true};
}

}  // namespace crossent
