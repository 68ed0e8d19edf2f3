#include "arrays.hpp"
#include "call.hpp"
#include "module.hpp"

namespace crossent::python {
namespace {

using normaliser = void (*)(const view&, int, double, const mutable_view&, const execution&);
using normaliser_backward = void (*)(const view&, const view&, int, double, const mutable_view&, const execution&);

template <normaliser f>
void normalise(const py::array& x, int axis, double temperature, py::array out, int threads) {
  const view in = input(x);
  const mutable_view to = output(out);
  call(threads, [&](const execution& how) { f(in, axis, temperature, to, how); });
}

template <normaliser_backward f>
void normalise_backward(const py::array& grad_output, const py::array& result, int axis, double temperature,
                        py::array out, int threads) {
  const view grad = input(grad_output);
  const view in = input(result);
  const mutable_view to = output(out);
  call(threads, [&](const execution& how) { f(grad, in, axis, temperature, to, how); });
}

void logsumexp_rows(const py::array& x, int axis, py::array out, int threads) {
  const view in = input(x);
  const mutable_view to = output(out);
  call(threads, [&](const execution& how) { logsumexp(in, axis, to, how); });
}

void logsumexp_rows_backward(const py::array& grad_output, const py::array& x, int axis, py::array out, int threads) {
  const view grad = input(grad_output);
  const view in = input(x);
  const mutable_view to = output(out);
  call(threads, [&](const execution& how) { logsumexp_backward(grad, in, axis, to, how); });
}

}  // namespace

void register_normalisers(py::module_& m) {
  m.def("softmax", &normalise<&softmax>);
  m.def("log_softmax", &normalise<&log_softmax>);
  m.def("logsumexp", &logsumexp_rows);
  m.def("softmax_backward", &normalise_backward<&softmax_backward>);
  m.def("log_softmax_backward", &normalise_backward<&log_softmax_backward>);
  m.def("logsumexp_backward", &logsumexp_rows_backward);
}

}  // namespace crossent::python
