// Functions and losses of elements.
#include "any_layout.hpp"

namespace crossent::fuzz {

namespace {

using element_loss = void (*)(const view&, const view&, const element_loss_options&, const mutable_view&, const mutable_view&,
                              const execution&);
enum { of_probs, of_logits, divergence, hessian };
constexpr element_loss losses[] = {&binary_cross_entropy, &binary_cross_entropy_with_logits, &kl_div};

void check_function(bytes& data, const row_shape& s, bool log) {
  arrays a;
  a.inputs.push_back(floats::input(data, s.shape, kind::logits));
  a.outputs.push_back(floats::output(data, s.shape, a.inputs[0].type));
  a.in_place = data.ConsumeBool();
  check(data, a,
        [&](arrays& c, const execution& e) { log ? log_sigmoid(c.in(0), c.out(0), e) : sigmoid(c.in(0), c.out(0), e); });
}

element_loss_options some_options(bytes& data, const row_shape& s, int loss) {
  element_loss_options o;
  if (loss == of_probs) o.log_floor = data.ConsumeBool() ? -100 : -std::numeric_limits<double>::infinity();
  if (loss == of_logits || loss == hessian) o.label_smoothing = data.ConsumeBool() ? 0 : 0.25;
  if (loss == divergence) {
    o.log_target = data.ConsumeBool();
    o.axis = data.ConsumeBool() ? s.axis : -1;
  }
  constexpr reduction_kind kinds[] = {reduction_kind::none, reduction_kind::mean, reduction_kind::sum};
  o.reduction = loss == hessian ? reduction_kind::sum : data.PickValueInArray(kinds);
  return o;
}

void check_loss(bytes& data, const row_shape& s, int loss) {
  const element_loss_options drawn = some_options(data, s, loss);
  arrays a;
  const kind of_x = loss == of_probs ? kind::probabilities : loss == divergence ? kind::logarithms : kind::logits;
  const bool weighted = loss != divergence;
  a.inputs.push_back(floats::input(data, s.shape, of_x));
  a.inputs.push_back(floats::input(data, s.shape, drawn.log_target ? kind::logarithms : kind::probabilities));
  const auto maybe = [&](bool can, kind of) { return can && data.ConsumeBool() ? floats::input(data, s.shape, of) : floats(); };
  a.inputs.push_back(maybe(weighted, kind::weights));
  a.inputs.push_back(maybe(loss == of_logits || loss == hessian, kind::weights));
  a.inputs.push_back(maybe(loss != hessian, kind::any));
  const dtype type = a.inputs[0].type;
  const bool of_rows = drawn.axis >= 0;
  if (loss == hessian) {
    a.outputs.push_back(floats::output(data, s.shape, type));
  } else if (drawn.reduction == reduction_kind::none) {
    a.outputs.push_back(floats::output(data, of_rows ? s.rows : s.shape, arithmetic(type)));
  } else {
    a.outputs.push_back({strided({}, item_size(arithmetic(type))), arithmetic(type)});
  }
  a.outputs.push_back(floats::output(data, s.shape, type));
  a.in_place = data.ConsumeBool();
  check(data, a, [&](arrays& c, const execution& e) {
    element_loss_options o = drawn;
    o.weight = c.in(2);
    o.pos_weight = c.in(3);
    o.grad_output = c.in(4);
    if (loss == hessian) binary_cross_entropy_with_logits_gradient_hessian(c.in(0), c.in(1), {}, o, c.out(1), c.out(0), e);
    else losses[loss](c.in(0), c.in(1), o, c.out(0), c.out(1), e);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* first, std::size_t size) {
  bytes data(first, size);
  const row_shape s(data);
  const int function = data.ConsumeIntegralInRange<int>(0, 5);
  if (function < 4) check_loss(data, s, function);
  else check_function(data, s, function == 5);
  return 0;
}

}  // namespace crossent::fuzz
