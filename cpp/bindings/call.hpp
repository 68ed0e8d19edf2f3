// How every core function is called: without the GIL, and open to Ctrl-C.
#pragma once

#include <crossent/crossent.hpp>
#include <pybind11/pybind11.h>

#include <utility>

namespace crossent::python {

namespace py = pybind11;

// Runs the handlers of pending signals; the exception one raised stays set on this thread.
inline bool signal_raised() {
  py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

// f(execution) without the GIL, which is held again when anything is thrown from here.
template <class F>
auto call(int threads, F&& f) {
  try {
    py::gil_scoped_release no_gil;
    return std::forward<F>(f)(execution{threads, &signal_raised});
  } catch (const interrupted_error&) {
    throw py::error_already_set();
  }
}

}  // namespace crossent::python
