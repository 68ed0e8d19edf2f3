// cross_entropy of class indices and of probabilities, nll_loss, and the Hessian.
#include "row_options.hpp"

namespace crossent::fuzz {

namespace {

void check_hessian(bytes& data, const row_shape& s, arrays& a, bool by_index, bool by_number) {
  hessian_options hessian;
  hessian.absolute = data.ConsumeBool();
  hessian.scale = data.ConsumeBool() ? 1 : 0.5;
  hessian.floor = data.ConsumeBool() ? 0 : 1e-6;
  const row_options drawn(data, s, a.inputs[0].type, a);
  if (by_number) a.inputs[1] = floats::input(data, s.rows, data.PickValueInArray(dtypes), kind::any);
  a.outputs.clear();
  for (int k = 0; k < 2; ++k) a.outputs.push_back(floats::output(data, s.shape, a.inputs[0].type));
  std::swap(a.outputs[0], a.outputs[1]);   // hess, grad: the last one is what may be in place
  check(data, a, [&](arrays& c, const execution& e) {
    row_loss_options o = drawn.of(c);
    o.reduction = reduction_kind::sum;
    o.z_loss = o.entropy_weight = 0;
    o.grad_output = {};
    const class_labels labels{by_index ? c.index_in(0) : index_view{}, by_number ? c.in(1) : view{}};
    const view probabilities = by_index || by_number ? view{} : c.in(1);
    cross_entropy_gradient_hessian(c.in(0), labels, probabilities, hessian, o, c.out(1), c.out(0), e);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* first, std::size_t size) {
  bytes data(first, size);
  const row_shape s(data);
  const int function = data.ConsumeIntegralInRange<int>(0, 5);   // indices, probabilities, nll; Hessian of each target
  const bool by_index = function != 1 && function < 4;

  arrays a;
  a.inputs.push_back(floats::input(data, s.shape, function == 2 ? kind::logarithms : kind::logits));
  a.inputs.push_back(by_index ? floats() : floats::input(data, s.shape, kind::probabilities));
  a.indices.push_back(by_index ? integers::input(data, s.rows, s.classes, -100) : integers());
  if (function >= 3) {
    check_hessian(data, s, a, by_index, function == 4);
    return 0;
  }
  const double t = some_temperature(data);
  const row_options drawn(data, s, a.inputs[0].type, a);
  check(data, a, [&](arrays& c, const execution& e) {
    if (function == 0) return cross_entropy(c.in(0), c.index_in(0), {}, drawn.of(c, t), c.out(0), c.out(1), e);
    if (function == 1) return cross_entropy(c.in(0), {}, c.in(1), drawn.of(c, t), c.out(0), c.out(1), e);
    nll_loss(c.in(0), c.index_in(0), drawn.of(c), c.out(0), c.out(1), e);
  });
  return 0;
}

}  // namespace crossent::fuzz
