#include "rows/row_plan.hpp"

#include "core/number.hpp"
#include "core/streaming.hpp"

namespace crossent {
namespace {

// The bias of `count` classes from `first` on.
line_memory packed_bias(const view& bias, index first, index count) {
  line_memory packed;
  if (bias.data == nullptr) return packed;
  packed.reserve(count * static_cast<index>(sizeof(double)));
  const char* from = static_cast<const char*>(bias.data) + first * bias.strides[0];
  kernels(dtype::float64).gather(from, bias.strides[0], bias.type, count, packed.data());
  return packed;
}

}  // namespace

bool choose_lanes_over_rows(const row_array& a, index classes, index few) {
  if (a.class_stride == item_size(a.type)) return classes <= few;
  return classes <= tile_classes || a.rows.inner_stride() == item_size(a.type);
}

row_description::row_description(const view& x, int class_axis, double temperature, const mutable_view& to,
                                 const logit_transform& transform)
    : axis(class_axis), out(to), type(arithmetic(x.type, temperature)), rows(1), classes(x.shape[class_axis]) {
  for (int d = 0; d < x.ndim; ++d)
    if (d != class_axis) rows *= x.shape[d];
  read(x, temperature, true, transform);
}

row_description::row_description(const known_statistics& statistics, dtype of_arithmetic, index row_count, index class_count)
    : axis(0), type(of_arithmetic), rows(row_count), classes(class_count), known(&statistics), are_sums_known(true) {}

row_plan make_plan(const row_description& d, const execution& e) {
  row_plan plan{d.type, d.rows, d.classes, d.cost, d.known, {}, {}};
  plan.with_sums = d.with_sums && !d.are_sums_known;
  plan.is_part = d.is_part;
  if (d.inputs_count == 0) return plan;
  plan.inputs.reserve(static_cast<std::size_t>(d.inputs_count));
  for (int k = 0; k < d.inputs_count; ++k) {
    const row_description::input& x = d.inputs[k];
    const logit_transform& t = x.transform;
    plan.inputs.push_back(
        {row_array(x.array, d.axis), plan.kernel().inverse_temperature_of(x.temperature),
         x.with_statistics && d.known == nullptr, t.is_given(), t.softcap,
         t.temperature.data != nullptr ? row_values(t.temperature, dtype::float64) : row_values(),
         packed_bias(t.bias, d.first_class, plan.classes)});
  }
  const row_array& x = plan.inputs[0].array;
  const bool is_half = item_size(x.type) < item_size(plan.type);
  plan.lanes_over_rows = choose_lanes_over_rows(x, plan.classes,
                                                is_half      ? max_row_lane_classes_half
                                                : d.writes() ? max_row_lane_classes
                                                             : max_row_lane_classes_read_only);
  const bool is_one_block = plan.blocks() == 1;
  plan.fused = d.may_run_fused && plan.lanes_over_rows && plan.classes <= few_classes_of(plan.type);
  // Blocks of rows are units of work: there must be some for each thread.
  plan.reduce_per_block =
      d.sums_losses && plan.lanes_over_rows && is_one_block && plan.rows >= 4 * summed_rows * num_threads(e.threads);
  if (!d.writes()) return plan;
  plan.out = row_array(d.out, d.axis);
  plan.through_softcap = d.writes_gradient && plan.inputs[0].softcap > 0;
  plan.cache_exponentials = d.reuses_exponentials && (plan.lanes_over_rows ? plan.classes <= tile_classes : is_one_block);
  plan.writes_target = d.entries == single_entries::of_target && plan.lanes_over_rows && is_one_block && !plan.through_softcap;
  // Single entries would fetch all lines again.
  const bool refetches = plan.lanes_over_rows && d.entries != single_entries::none && !plan.writes_target;
  const bool is_large = plan.rows * plan.classes * item_size(d.out.type) > streamed_bytes;
  plan.stream = d.out.data != d.inputs[0].array.data && is_large && !refetches && !d.rereads_output;
  return plan;
}

}  // namespace crossent
