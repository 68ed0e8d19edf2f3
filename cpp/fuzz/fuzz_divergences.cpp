// Divergences and distillation, of a teacher's logits and of a sparse teacher.
#include "row_options.hpp"

namespace crossent::fuzz {

namespace {

void check_row_divergences(bytes& data, const row_shape& s, arrays& a) {
  for (int k = 0; k < 3; ++k) a.outputs.push_back(floats::output(data, s.rows, arithmetic(a.inputs[0].type)));
  row_loss_options options;
  options.axis = s.axis;
  check(data, a, [&](arrays& c, const execution& e) {
    row_divergences(c.in(0), c.in(1), {}, options, {c.out(0), c.out(1), c.out(2)}, e);
  });
}

void check_distillation(bytes& data, const row_shape& s, arrays& a) {
  const divergence_options divergence = some_divergence(data);
  const distillation_options share{some_fraction(data), data.ConsumeBool()};
  const int target = data.ConsumeIntegralInRange<int>(0, 2);   // indices, probabilities, none
  a.indices.push_back(target == 0 ? integers::input(data, s.rows, s.classes, -100) : integers());
  a.inputs.push_back(target == 1 ? floats::input(data, s.shape, kind::probabilities) : floats());
  const distillation_options used{target == 2 ? 1 : share.alpha, share.scale_by_temperature};
  const row_options drawn(data, s, a.inputs[0].type, a, distillation_terms(used, divergence.temperature).count);
  check(data, a, [&](arrays& c, const execution& e) {
    row_loss_options o = drawn.of(c);
    if (target == 2) o.weight = {}, o.label_smoothing = o.z_loss = 0;
    distillation_loss(c.in(0), c.in(1), c.index_in(0), c.in(2), used, divergence, o, c.out(0), c.out(1), e);
  });
}

void check_sparse(bytes& data, const row_shape& s, arrays& a) {
  constexpr kind kinds[] = {kind::logarithms, kind::logits, kind::probabilities, kind::weights};
  sparse_teacher_options teacher;
  divergence_options divergence = some_divergence(data);
  teacher.values = static_cast<teacher_values>(data.ConsumeIntegralInRange<int>(0, 3));
  teacher.tail = static_cast<teacher_tail>(data.ConsumeIntegralInRange<int>(0, 3));
  teacher.scale_by_temperature = data.ConsumeBool();
  divergence.beta = 0.5;
  if (teacher.tail == teacher_tail::zero || teacher.tail == teacher_tail::uniform) divergence.kind = divergence_kind::forward;
  if (teacher.tail == teacher_tail::renormalize && divergence.kind == divergence_kind::reverse)
    divergence.kind = divergence_kind::js;
  const shape_of listed = s.with(data.ConsumeIntegralInRange<index>(0, 70));
  a.indices.push_back(integers::input(data, listed, s.classes, -1));
  a.inputs[1] = floats::input(data, listed, kinds[static_cast<int>(teacher.values)]);
  const bool has_logsumexp = teacher.values <= teacher_values::logits && data.ConsumeBool();
  a.inputs.push_back(has_logsumexp ? floats::input(data, s.rows, arithmetic(a.inputs[0].type), kind::positive) : floats());
  if (!has_logsumexp) divergence.temperature = 1;
  const row_options drawn(data, s, a.inputs[0].type, a);
  check(data, a, [&](arrays& c, const execution& e) {
    row_loss_options o = drawn.of(c);
    o.weight = {};
    o.label_smoothing = o.z_loss = 0;
    sparse_teacher_options of_teacher = teacher;
    of_teacher.logsumexp = c.in(2);
    sparse_distillation_loss(c.in(0), c.index_in(0), c.in(1), of_teacher, divergence, o, c.out(0), c.out(1), e);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* first, std::size_t size) {
  bytes data(first, size);
  const row_shape s(data);
  arrays a;
  a.inputs.push_back(floats::input(data, s.shape, kind::logits));
  a.inputs.push_back(floats::input(data, s.shape, kind::logits));
  switch (data.ConsumeIntegralInRange<int>(0, 3)) {
    case 0: check_row_divergences(data, s, a); break;
    case 1: check_sparse(data, s, a); break;
    case 2: check_distillation(data, s, a); break;
    default: {
      const divergence_options divergence = some_divergence(data);
      const row_options drawn(data, s, a.inputs[0].type, a);
      check(data, a, [&](arrays& c, const execution& e) {
        row_loss_options o = drawn.of(c);
        o.weight = {};
        o.label_smoothing = o.z_loss = 0;
        kl_div_with_logits(c.in(0), c.in(1), divergence, o, c.out(0), c.out(1), e);
      });
    }
  }
  return 0;
}

}  // namespace crossent::fuzz
