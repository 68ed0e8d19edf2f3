#include "rows/row_inputs.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/number.hpp"
#include "rows/row_buffer.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

constexpr index bad_class = -2;

template <class I> I load_one(const char* from) {
  I v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

// Reads n indices, `stride` bytes apart; a value that no class has becomes bad_class, never a wrapped number.
template <class I>
targets::tally read_as(const char* data, index stride, index n, index classes, bool has_ignore, std::int64_t ignore, index* y) {
  // A negative number is a large one without its sign.
  const auto no_class = [=](auto v) { return static_cast<std::uint64_t>(v) >= static_cast<std::uint64_t>(classes); };
  const bool may_ignore = has_ignore && (std::is_signed_v<I> || ignore >= 0);
  targets::tally seen;
  if (!may_ignore || no_class(ignore)) {   // nearly always all of them are classes, and this loop is enough
    std::uint64_t signs = 0;   // the top bit: of a negative one, or of the last class less a larger one
    const auto copy = [&](index step) {
      for (index i = 0; i < n; ++i) {
        const I v = load_one<I>(data + i * step);
        y[i] = static_cast<index>(v);   // NOLINT(bugprone-signed-char-misuse,cert-str34-c): -1 is -1
        signs |= static_cast<std::uint64_t>(v) | (static_cast<std::uint64_t>(classes - 1) - static_cast<std::uint64_t>(v));
      }
    };
    // A known step makes vector code: for the types that targets have, or there would be a lot of it.
    constexpr bool usual = std::is_same_v<I, std::int64_t> || std::is_same_v<I, std::int32_t>;
    usual&& stride == sizeof(I) ? copy(sizeof(I)) : copy(stride);
    if (signs >> 63 == 0) return seen;
  }
  for (index i = 0; i < n; ++i) {
    const I v = load_one<I>(data + i * stride);
    bool equal;
    if constexpr (std::is_signed_v<I>) equal = v == ignore;
    else equal = v == static_cast<std::uint64_t>(ignore);
    const bool absent = may_ignore & equal;
    const bool bad = !absent & no_class(v);
    seen.absent += absent;
    seen.bad += bad;
    const index c = absent ? targets::ignored : static_cast<index>(v);
    y[i] = bad ? bad_class : c;
  }
  return seen;
}

template <class F> auto with_int_type(int_dtype type, F&& f) {
  switch (type) {
    case int_dtype::int8: return f(std::int8_t{});
    case int_dtype::int16: return f(std::int16_t{});
    case int_dtype::int32: return f(std::int32_t{});
    case int_dtype::uint8: return f(std::uint8_t{});
    case int_dtype::uint16: return f(std::uint16_t{});
    case int_dtype::uint32: return f(std::uint32_t{});
    case int_dtype::uint64: return f(std::uint64_t{});
    default: return f(std::int64_t{});
  }
}

}  // namespace

void row_values::load(index first, index count, double* out) const {
  if (data_ == nullptr) {
    std::fill_n(out, count, 1.0);
    return;
  }
  rows_.for_each_strided_run(first, count, [&](index offset, index n, index stride) {
    for (index i = 0; i < n; ++i) *out++ = load_rounded(data_ + offset + i * stride, type_, arithmetic_);
  });
}

bool smooths(const row_loss_options& options, index classes, const execution& e) {
  if (!(options.label_smoothing > 0) || options.weight.data == nullptr) return options.label_smoothing > 0;
  const auto* weights = static_cast<const char*>(options.weight.data);
  std::atomic<bool> any{false};
  parallel_for(block_count(classes), block_classes, threads_for(classes, e), e, [&](index begin, index end, int) {
    const index last = std::min(classes, end * block_classes);
    for (index c = begin * block_classes; c < last && !any; ++c)
      if (load_number(weights + c * options.weight.strides[0], options.weight.type) > 0) any = true;
  });
  return any;
}

targets::targets(const index_view& target, index rows, const row_loss_options& options, index classes, dtype arithmetic,
                 bool writes, const execution& e)
    : data_(static_cast<const char*>(target.data)),
      type_(target.type),
      count_(rows),
      rows_(target.ndim, target.shape, target.strides, -1),
      classes_(classes),
      has_ignore_(options.has_ignore_index),
      ignore_(options.ignore_index),
      smoothed_(smooths(options, classes, e)),
      has_other_terms_(options.z_loss > 0 || options.entropy_weight != 0),
      is_mean_(options.reduction == reduction_kind::mean || options.reduction == reduction_kind::exp_mean),
      given_denominator_(options.denominator),
      denominators_{options.denominators[0], options.denominators[1]},
      weights_(static_cast<const char*>(options.weight.data)),
      weight_type_(options.weight.type),
      weight_stride_(weights_ == nullptr ? 0 : options.weight.strides[0]),
      sample_weight_(options.sample_weight, arithmetic) {
  if (data_ == nullptr) return;
  const bool is_weighted = weights_ != nullptr || sample_weight_.given();
  const bool sums_targets = is_mean_ && !(given_denominator_ > 0) && (writes || is_weighted);
  if (sums_targets || options.reduction == reduction_kind::block_weights || (writes && options.writes_to_caller)) check(e);
}

double targets::weight_at(index c) const { return load_number(weights_ + c * weight_stride_, weight_type_); }

targets::tally targets::read(index first, index count, index* y) const {
  tally seen;
  with_int_type(type_, [&](auto zero) {
    rows_.for_each_strided_run(first, count, [&](index offset, index n, index stride) {
      const tally part = read_as<decltype(zero)>(data_ + offset, stride, n, classes_, has_ignore_, ignore_, y);
      seen.absent += part.absent;
      seen.bad += part.bad;
      y += n;
    });
  });
  return seen;
}

targets::class_run targets::classes(index first, index count, index* buffer) const {
  const bool is_class = 0 <= ignore_ && ignore_ < classes_;
  const strided_run run = rows_.run_at(first, count);
  const char* const at = data_ + run.offset;
  const bool is_aligned = reinterpret_cast<std::uintptr_t>(at) % alignof(index) == 0;
  if (type_ == int_dtype::int64 && is_aligned && !(has_ignore_ && is_class) && run.stride == sizeof(index))
    return {reinterpret_cast<const index*>(at), run.count, has_ignore_ ? ignore_ : 0};
  read(first, count, buffer);
  return {buffer, count, ignored};
}

void targets::add_ignored(index rows) const {
  if (!checked_ && rows > 0) ignored_rows_.fetch_add(rows, std::memory_order_relaxed);
}

// All targets before anything else is done.
void targets::check(const execution& e) {
  for_each_row_chunk(rows(), e, [&](index first, index count) {
    index y[batch_rows];
    const tally seen = read(first, count, y);
    if (seen.absent > 0) ignored_rows_.fetch_add(seen.absent, std::memory_order_relaxed);
    if (seen.bad > 0) note_bad(first, count, y);
  });
  checked_ = true;
  throw_if_bad();
}

// Remembers the first bad row, one of these; may be called from several threads.
void targets::note_bad(index first, index count, const index* y) const {
  const index row = first + (std::find(y, y + count, bad_class) - y);
  index seen = first_bad_.load();
  while (row < seen && !first_bad_.compare_exchange_weak(seen, row)) {
  }
}

void targets::throw_if_bad() const {
  const index row = first_bad_.load();
  if (row == std::numeric_limits<index>::max()) return;
  index offset = 0;
  rows_.offsets(row, 1, &offset);
  throw target_error{
      row, with_int_type(type_, [&](auto zero) {
        const auto value = load_one<decltype(zero)>(data_ + offset);
        index y;
        const bool is_bad =
            read_as<decltype(zero)>(reinterpret_cast<const char*>(&value), 0, 1, classes_, has_ignore_, ignore_, &y).bad > 0;
        return is_bad ? std::to_string(value) : std::string();
      })};
}

void targets::load(index first, index count, index* y, double* class_weight, double* row_weight, bool all) const {
  if (data_ == nullptr) {
    sample_weight_.load(first, count, row_weight);
    std::fill_n(y, count, 0);
    std::fill_n(class_weight, count, 1.0);
    return;
  }
  const tally seen = read(first, count, y);
  add_ignored(seen.absent);
  if (seen.bad > 0) note_bad(first, count, y);   // where they were checked, it has been changed since
  if (weights_ == nullptr && !sample_weight_.given()) {
    std::fill_n(class_weight, count, 1.0);
    std::fill_n(row_weight, count, 1.0);
    if (seen.absent + seen.bad == 0) return;
    for (index i = 0; i < count; ++i)   // a bad one is not read either
      if (y[i] < 0) class_weight[i] = row_weight[i] = 0;
    return;
  }
  sample_weight_.load(first, count, row_weight);
  const bool zero_counts = smoothed_ || has_other_terms_ || all;   // rows whose class has weight 0
  for (index i = 0; i < count; ++i) {
    class_weight[i] = y[i] < 0 ? 0.0 : weight(y[i]);
    row_weight[i] = y[i] < 0 || (class_weight[i] == 0 && !zero_counts) ? 0.0 : row_weight[i];
  }
}

double targets::denominator(bool with_class_weights, const execution& e) const {
  if (!is_mean_) return denominators_[with_class_weights];
  if (given_denominator_ > 0) return given_denominator_;
  const bool is_weighted = with_class_weights && weights_ != nullptr && data_ != nullptr;
  if (!is_weighted && !sample_weight_.given()) return static_cast<double>(rows() - ignored_rows_.load());
  return rounded(ordered_sum(weights_of_rows(with_class_weights, e).get(), rows(), e));
}

void targets::sum_blocks_of_weights(bool with_class_weights, double_double<double>* sums, const execution& e) const {
  sum_blocks(weights_of_rows(with_class_weights, e).get(), rows(), sums, e);
}

row_buffer targets::weights_of_rows(bool with_class_weights, const execution& e) const {
  row_buffer weights = new_row_buffer(rows());
  for_each_row_chunk(rows(), e, [&](index first, index count) {
    index y[batch_rows];
    double class_weight[batch_rows];
    double* v = weights.get() + first;
    load(first, count, y, class_weight, v, !with_class_weights);
    for (index i = 0; i < count && with_class_weights; ++i) v[i] *= class_weight[i];
  });
  return weights;
}

void upstream::load(index first, index count, const double* row_weight, double* g) const {
  if (divisor_ == 0) {
    std::fill_n(g, count, 0.0);
    return;
  }
  grad_output_.load(first, count, g);
  for (index i = 0; i < count; ++i) g[i] = row_weight[i] == 0 ? 0.0 : g[i];
}

const double* upstream::load(index first, index count, double* buffer) const {
  if (divisor_ == 0) std::fill_n(buffer, count, 0.0);
  else if (!grad_output_.given()) return nullptr;
  else grad_output_.load(first, count, buffer);
  return buffer;
}

}  // namespace crossent
