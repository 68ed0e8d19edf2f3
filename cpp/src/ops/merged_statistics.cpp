#include "ops/merged_statistics.hpp"

#include "core/number.hpp"
#include "rows/row_chunks.hpp"

namespace crossent {
namespace {

// f(array, whether it is there) for the arrays of a state in the order in which they lie.
template <class F> void for_each_column(partial_state& s, const partial_state_format& format, F f) {
  const auto each = [&](bool is_there, auto&... columns) { (f(columns, is_there), ...); };
  const auto each_gap = [&](bool is_there, gap_sums_of_rows& g) { each(is_there, g.gap, g.gap_lo, g.mass, g.mass_lo); };
  each(true, s.max, s.max_count, s.sum_all, s.sum_without_max);
  each(format.extended, s.sum_all_lo, s.sum_without_max_lo);
  each(format.entropy, s.gap);
  each(format.entropy && format.extended, s.gap_lo);
  each(format.smoothed || format.probabilities, s.argmax);
  each_gap(format.smoothed, s.smoothing);
  each_gap(format.probabilities, s.target);
  each(format.probabilities, s.mass_without_max, s.mass_without_max_lo, s.argmax_probability);
}

}  // namespace

index partial_state_format::numbers() const {
  partial_state none{};
  index count = 0;
  for_each_column(none, *this, [&](double*, bool is_there) { count += is_there; });
  return count;
}

partial_state partial_state_at(double* at, index rows, const partial_state_format& format) {
  partial_state s{};
  for_each_column(s, format, [&](double*& column, bool is_there) {
    if (!is_there) return;
    column = at;
    at += rows;
  });
  return s;
}

partial_state from_row(partial_state s, index first) {
  for_each_column(s, {}, [&](double*& column, bool) {
    if (column != nullptr) column += first;
  });
  return s;
}

merged_statistics::merged_statistics(const merged_state& whole)
    : whole_(whole),
      state_(partial_state_at(const_cast<double*>(whole.columns), whole.rows, whole.format)),
      kernel_(kernels(arithmetic())),
      t_(kernel_.inverse_temperature_of(temperature())) {}

void merged_statistics::load(index first, index count, int, row_statistics& out) const {
  kernel_.statistics_of_merged_state(count, t_, from_row(state_, first), out);
}

void merged_statistics::load(index first, index count, cross_entropy_rows& out) const {
  const partial_state s = from_row(state_, first);
  // Of the arrays of a kind there are all or none. NOLINTBEGIN(clang-analyzer-core.NullDereference)
  const auto sum = [](const double* hi, const double* lo, index i) { return rounded(double_double<double>{hi[i], lo[i]}); };
  for (index i = 0; i < count; ++i) {
    out.target[i] = whole_.target_logits != nullptr ? whole_.target_logits[first + i] : 0;
    // From another process, which may have sent any number. -1: in none of these shards.
    const auto class_of = [&](double c) { return c >= 0 && c < out.classes ? static_cast<index>(c) : -1; };
    out.argmax[i] = s.argmax != nullptr ? class_of(s.argmax[i]) : 0;
    if (out.entropy != nullptr) {
      out.entropy->gap_sum[i] = s.gap[i];
      out.entropy->gap_sum_lo[i] = s.gap_lo != nullptr ? s.gap_lo[i] : 0;
    }
    if (s.smoothing.gap != nullptr) out.weighted_gap_to_max[i] = sum(s.smoothing.gap, s.smoothing.gap_lo, i);
    if (s.target.gap == nullptr) continue;
    out.target_gap_to_max[i] = sum(s.target.gap, s.target.gap_lo, i);
    out.mass[i] = s.target.mass[i];
    out.mass_lo[i] = s.target.mass_lo[i];
    out.mass_without_max[i] = s.mass_without_max[i];
    out.mass_without_max_lo[i] = s.mass_without_max_lo[i];
    out.argmax_probability[i] = s.argmax_probability[i];
  }
  // NOLINTEND(clang-analyzer-core.NullDereference)
}

merged_distillation::merged_distillation(const shards_of_distillation& shards)
    : student(shards.student), teacher(shards.teacher), sums(shards.sums, shards.student.rows) {
  if (shards.cross_entropy.columns != nullptr) cross_entropy.emplace(shards.cross_entropy);
}

row_description describe_merged(const known_statistics& merged, const merged_statistics& rows, const view& logits, int axis,
                                const class_shard& shard, const mutable_view& out, const logit_transform& transform) {
  if (out.data == nullptr) return {merged, rows.arithmetic(), rows.rows(), shard.classes};
  row_description d(logits, axis, rows.temperature(), out, transform);
  d.first_class = shard.first;
  d.known = &merged;
  d.are_sums_known = true;
  return d;
}

}  // namespace crossent
