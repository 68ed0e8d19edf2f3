#include "module.hpp"

#include <new>
#include <stdexcept>

namespace crossent::python {
namespace {

PyObject* invoke_or_raise(function f, const arguments& given) {
  try {
    return f(given).release().ptr();
  } catch (const python_error&) {
  } catch (py::error_already_set& error) {   // of what pybind11 calls
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::length_error&) {   // of a vector: more than memory can have
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

}  // namespace

PyObject* invoke(function f, const arguments& given) noexcept {
  return or_sleep([&] { return invoke_or_raise(f, given); });
}

}  // namespace crossent::python

void define_ceilings(pybind11::module_& parent);   // bench/ceilings.cpp

PYBIND11_MODULE(_core_of_the_process, m, pybind11::mod_gil_not_used()) {
  using namespace crossent::python;
  for (PyMethodDef* functions : {normalisers, losses, information, process})
    if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  thread_limits = PyContextVar_New("crossent.num_threads", py::make_tuple(0).ptr());
  if (thread_limits == nullptr) throw py::error_already_set();
  m.attr("thread_limits") = py::handle(thread_limits);
  define_ceilings(m);
}

// pybind11 would wait for ever for the GIL of a sub-interpreter that shares that of the main one.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (PyInterpreterState_Get() == PyInterpreterState_Main()) return PyInit__core_of_the_process();
  PyErr_SetString(PyExc_ImportError, "crossent cannot be imported in a sub-interpreter: expected the main one of the process");
  return nullptr;
}
