#include "rows/row_plan.hpp"

#include "core/streaming.hpp"

namespace crossent {

bool choose_lanes_over_rows(const row_array& a, index classes, index few) {
  if (a.class_stride == item_size(a.type)) return classes <= few;
  return classes <= tile_classes || a.rows.inner_stride() == item_size(a.type);
}

int row_plan::read(const view& v, int axis, double temperature, bool with_statistics) {
  inputs.push_back({row_array(v, axis), kernel().inverse_temperature_of(temperature), with_statistics});
  return static_cast<int>(inputs.size()) - 1;
}

row_plan make_plan(const view& x, int axis, double temperature, const mutable_view& out) {
  row_plan plan;
  plan.type = arithmetic(x.type, temperature);
  plan.classes = x.shape[axis];
  plan.read(x, axis, temperature);
  const row_array& a = plan.inputs[0].array;
  plan.rows = a.rows.rows();
  const bool is_half = item_size(x.type) < item_size(plan.type);
  plan.lanes_over_rows = choose_lanes_over_rows(a, plan.classes,
                                                is_half               ? few_half_classes
                                                : out.data == nullptr ? few_read_classes
                                                                      : few_classes);
  if (out.data == nullptr) return plan;
  plan.out = row_array(out, axis);
  plan.stream = out.data != x.data && plan.rows * plan.classes * item_size(out.type) > streamed_bytes;
  return plan;
}

}  // namespace crossent
