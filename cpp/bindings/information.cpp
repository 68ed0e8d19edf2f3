#include "arrays.hpp"
#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

using measure = void (*)(const view&, const view&, int, double, const mutable_view&, const execution&);

template <measure f>
void measure_rows(const py::array& p, const py::array& q, int axis, double base, py::array out, int threads) {
  const view in = input(p), other = input(q);
  const mutable_view to = output(out);
  call(threads, [&](const execution& how) { f(in, other, axis, base, to, how); });
}

void entropy_of(const py::array& p, int axis, double base, py::array out, int threads) {
  const view in = input(p);
  const mutable_view to = output(out);
  call(threads, [&](const execution& how) { entropy(in, axis, base, to, how); });
}

void entropy_with_logits_of(const py::array& logits, int axis, py::array out, int threads) {
  const view in = input(logits);
  const mutable_view to = output(out);
  call(threads, [&](const execution& how) { entropy_with_logits(in, axis, to, how); });
}

index first_outside_of(const py::array& x, double low, double high, int threads) {
  const view in = input(x);
  return call(threads, [&](const execution& how) { return first_outside(in, low, high, how); });
}

}  // namespace

void register_information(py::module_& m) {
  m.def("entropy", &entropy_of);
  m.def("information_cross_entropy", &measure_rows<&information_cross_entropy>);
  m.def("kl_divergence", &measure_rows<&kl_divergence>);
  m.def("js_divergence", &measure_rows<&js_divergence>);
  m.def("entropy_with_logits", &entropy_with_logits_of);
  m.def("first_outside", &first_outside_of);
}

}  // namespace crossent::python
