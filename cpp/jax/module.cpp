// The extension module crossent.jax._xla: the functions of losses.cpp for jax.ffi.register_ffi_target.
#include <pybind11/pybind11.h>

#include <crossent/crossent.hpp>

#include "losses.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_xla, m, py::mod_gil_not_used()) {
  py::dict functions;
  for (const auto* f = crossent::jax::functions; f->name != nullptr; ++f)
    functions[f->name] = py::capsule(reinterpret_cast<void*>(f->handler));
  m.attr("functions") = functions;
  m.attr("interface") = py::make_tuple(XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR);
  // This module has a core of its own, with its own threads.
  m.def("set_num_threads", &crossent::set_num_threads);
}
