// The functions that XLA calls, by the names of the Python functions.
#include "losses.hpp"

#include <limits>
#include <new>
#include <stdexcept>

#include "call.hpp"

namespace crossent::jax {
namespace {

double largest(dtype arithmetic) {
  return arithmetic == dtype::float64 ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
}

dtype arithmetic_of(const array& x) { return x.type() == dtype::float64 ? dtype::float64 : dtype::float32; }

// The operands of a logit_transform: as it is for each example.
struct transform_arrays {
  double softcap = 0;
  array bias, temperature;

  logit_transform at(index example) const { return {softcap, bias.at(example), temperature.at(example)}; }

  void read_bias(const call& c, const char* name, int axis) {
    shape classes;
    classes.size[classes.ndim++] = c.first().size[axis];
    bias = c.operand(name, classes);
    if (bias) bias.check(name, -std::numeric_limits<double>::infinity(), largest(arithmetic_of(bias)));
  }
  void read_temperature(const call& c, int axis) {
    temperature = c.operand("temperature", c.first().without(axis));
    if (!temperature) return;
    const bool is_double = arithmetic_of(temperature) == dtype::float64;
    const double least =
        is_double ? std::numeric_limits<double>::denorm_min() : double{std::numeric_limits<float>::denorm_min()};
    temperature.check("temperature", least, largest(arithmetic_of(temperature)));
  }
};

transform_arrays read_transform(const call& c, int axis) {
  transform_arrays transform;
  transform.softcap = c.attribute<double>("softcap");
  transform.read_bias(c, "logit_bias", axis);
  transform.read_temperature(c, axis);
  return transform;
}

template <class Options> void read_reduction(const call& c, Options& options) {
  options.reduction = static_cast<reduction_kind>(c.attribute<std::int64_t>("reduction"));
  options.denominator = c.attribute<double>("denominator");
}

// What the losses of rows have in common.
struct row_call {
  const call& c;
  int axis;
  shape rows;
  row_loss_options shared;
  array x, weight, sample_weight, upstream, loss, grad;
  transform_arrays transform;

  explicit row_call(const call& of) : c(of), axis(static_cast<int>(c.attribute<std::int64_t>("axis"))) {
    rows = c.first().without(axis);
    shared.axis = axis;
    read_reduction(c, shared);
    const shape loss_shape = shared.reduction == reduction_kind::none ? rows : shape{};
    x = c.operand("logits", c.first());
    sample_weight = c.operand("sample_weight", rows);
    const double most = largest(arithmetic_of(x));
    sample_weight.check("sample_weight", -most, most);
    transform = read_transform(c, axis);
    upstream = c.operand("grad_output", loss_shape);
    loss = c.result("loss", loss_shape);
    grad = c.result("grad", c.first());
  }

  void read_cross_entropy() {
    shape classes;
    classes.size[classes.ndim++] = c.first().size[axis];
    weight = c.operand("weight", classes);
    weight.check("weight", 0, largest(arithmetic_of(x)));
    shared.has_ignore_index = c.attribute<bool>("has_ignore_index");
    shared.ignore_index = c.attribute<std::int64_t>("ignore_index");
    shared.label_smoothing = c.attribute<double>("label_smoothing");
    shared.z_loss = c.attribute<double>("z_loss");
  }

  // Class indices or probabilities, as the dtype says.
  array target() const {
    const bool by_index = c.attribute<bool>("by_index");
    const array y = c.operand("target", by_index ? rows : c.first());
    if (!by_index) y.check("target", 0, 1);
    return y;
  }

  // f(example, options, loss, grad, execution)
  template <class F> void run(index cost, const array* indices, F f) const {
    const index work = work_of(c.first().elements(), 1, cost);
    c.for_each_example(work, [&](index i, const execution& e) {
      row_loss_options options = shared;
      options.weight = weight.at(i);
      options.sample_weight = sample_weight.at(i);
      options.transform = transform.at(i);
      options.grad_output = spread(upstream.at(i));
      options.writes_to_caller = false;
      try {
        f(i, options, loss.output_at(i), grad.output_at(i), e);
      } catch (const target_error& error) {
        throw wrong_value{ffi::ErrorCode::kOutOfRange, refusal(*indices, error)};
      }
    });
  }

 private:
  view spread(view g) const {
    static constexpr index no_strides[most_axes] = {};
    return g.data != nullptr && g.ndim == 0 ? view{g.data, g.type, rows.ndim, rows.size, no_strides} : g;
  }

  std::string refusal(const array& indices, const target_error& error) const {
    std::string text = indices.position("target", error.row) + " is " + error.value + ", outside [0, " +
                       std::to_string(c.first().size[axis]) + ')';
    if (shared.has_ignore_index) text += " and not ignore_index (" + std::to_string(shared.ignore_index) + ')';
    return text;
  }
};

void cross_entropy(const call& c) {
  row_call r(c);
  r.read_cross_entropy();
  r.shared.temperature = c.attribute<double>("temperature");
  r.shared.entropy_weight = c.attribute<double>("entropy_weight");
  const array target = r.target();
  const bool by_index = target.is_integer();
  r.run(1, &target,
        [&](index i, const row_loss_options& options, const mutable_view& loss, const mutable_view& grad, const execution& e) {
          crossent::cross_entropy(r.x.at(i), by_index ? target.indices_at(i) : index_view{}, by_index ? view{} : target.at(i),
                                  options, loss, grad, e);
        });
}

// What the divergence of two rows of logits reads beside those of the student.
struct teacher_logits {
  divergence_options shared;
  array logits;
  transform_arrays transform;

  teacher_logits(const call& c, int axis) : logits(c.operand("teacher_logits", c.first())) {
    shared.temperature = c.attribute<double>("temperature");
    shared.kind = static_cast<divergence_kind>(c.attribute<std::int64_t>("divergence"));
    shared.beta = c.attribute<double>("beta");
    transform.softcap = c.attribute<double>("teacher_softcap");
    transform.read_bias(c, "teacher_logit_bias", axis);
  }

  divergence_options at(index example) const {
    divergence_options options = shared;
    options.teacher = transform.at(example);
    return options;
  }
};

void kl_div_with_logits(const call& c) {
  const row_call r(c);
  const teacher_logits teacher(c, r.axis);
  r.run(heavy, nullptr,
        [&](index i, const row_loss_options& options, const mutable_view& loss, const mutable_view& grad, const execution& e) {
          crossent::kl_div_with_logits(r.x.at(i), teacher.logits.at(i), teacher.at(i), options, loss, grad, e);
        });
}

void distillation_loss(const call& c) {
  row_call r(c);
  r.read_cross_entropy();
  const teacher_logits teacher(c, r.axis);
  const distillation_options terms{c.attribute<double>("alpha"), c.attribute<bool>("scale_by_temperature")};
  const array target = r.target();
  const bool by_index = target && target.is_integer();
  r.run(heavy, &target,
        [&](index i, const row_loss_options& options, const mutable_view& loss, const mutable_view& grad, const execution& e) {
          crossent::distillation_loss(r.x.at(i), teacher.logits.at(i), by_index ? target.indices_at(i) : index_view{},
                                      by_index ? view{} : target.at(i), terms, teacher.at(i), options, loss, grad, e);
        });
}

void binary_cross_entropy_with_logits(const call& c) {
  const shape& as = c.first();
  const array x = c.operand("logits", as), target = c.operand("target", as), weight = c.operand("weight", as),
              pos_weight = c.operand("pos_weight", as);
  const double most = largest(arithmetic_of(x));
  weight.check("weight", -most, most);
  pos_weight.check("pos_weight", 0, most);
  element_loss_options shared;
  read_reduction(c, shared);
  shared.label_smoothing = c.attribute<double>("label_smoothing");
  shared.check_target = true;   // as it is read
  const shape loss_shape = shared.reduction == reduction_kind::none ? as : shape{};
  const array upstream = c.operand("grad_output", loss_shape), loss = c.result("loss", loss_shape), grad = c.result("grad", as);
  static constexpr index no_strides[most_axes] = {};
  c.for_each_example(as.elements(), [&](index i, const execution& e) {
    element_loss_options options = shared;
    options.weight = weight.at(i);
    options.pos_weight = pos_weight.at(i);
    options.grad_output = upstream.at(i);
    if (upstream && loss_shape.ndim == 0)
      options.grad_output = {options.grad_output.data, upstream.type(), as.ndim, as.size, no_strides};
    try {
      crossent::binary_cross_entropy_with_logits(x.at(i), target.at(i), options, loss.output_at(i), grad.output_at(i), e);
    } catch (const target_range_error& error) {
      target.refuse("target", error, 0, 1);
    }
  });
}

using normaliser = void (*)(const view&, const normaliser_options&, const mutable_view&, const execution&);
using normaliser_backward = void (*)(const view&, const view&, int, double, const mutable_view&, const execution&);

template <normaliser f> void normalise(const call& c) {
  normaliser_options shared;
  shared.axis = static_cast<int>(c.attribute<std::int64_t>("axis"));
  shared.temperature = c.attribute<double>("temperature");
  const transform_arrays transform = read_transform(c, shared.axis);
  const array x = c.operand("x", c.first()), out = c.result("out", c.first());
  c.for_each_example(c.first().elements(), [&](index i, const execution& e) {
    normaliser_options options = shared;
    options.transform = transform.at(i);
    f(x.at(i), options, out.output_at(i), e);
  });
}

template <normaliser_backward f> void normalise_backward(const call& c) {
  const int axis = static_cast<int>(c.attribute<std::int64_t>("axis"));
  const double temperature = c.attribute<double>("temperature");
  const array g = c.operand("grad_output", c.first()), result = c.operand("result", c.first()),
              out = c.result("out", c.first());
  c.for_each_example(c.first().elements(),
                     [&](index i, const execution& e) { f(g.at(i), result.at(i), axis, temperature, out.output_at(i), e); });
}

template <void (*f)(const call&)>
ffi::Error run(ffi::RemainingArgs operands, ffi::RemainingRets results, ffi::Dictionary attributes) {
  try {
    f(call(operands, results, attributes));
    return ffi::Error::Success();
  } catch (const wrong_value& error) {
    return ffi::Error(error.code, error.message);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "crossent: out of memory");
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
}

template <void (*f)(const call&)> XLA_FFI_Error* handle(XLA_FFI_CallFrame* frame) {
  static const auto handler = ffi::Ffi::Bind().RemainingArgs().RemainingRets().Attrs().To(&run<f>);
  return handler->Call(frame);
}

}  // namespace

const function functions[] = {
    {"cross_entropy", handle<cross_entropy>},
    {"kl_div_with_logits", handle<kl_div_with_logits>},
    {"distillation_loss", handle<distillation_loss>},
    {"binary_cross_entropy_with_logits", handle<binary_cross_entropy_with_logits>},
    {"softmax", handle<normalise<softmax>>},
    {"log_softmax", handle<normalise<log_softmax>>},
    {"softmax_backward", handle<normalise_backward<softmax_backward>>},
    {"log_softmax_backward", handle<normalise_backward<log_softmax_backward>>},
    {}};

}  // namespace crossent::jax
