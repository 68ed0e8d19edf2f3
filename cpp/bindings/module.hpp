// The functions of the module: positional arguments, any objects, and an object back.
#pragma once

#include "call.hpp"

namespace crossent::python {

using function = py::object (*)(const arguments&);

// f(given) with what it throws as a Python exception.
PyObject* invoke(function f, const arguments& given) noexcept;

// Without pybind11's conversion of arguments, which takes longer than the checks in call.hpp.
template <function f> PyMethodDef method(const char* name) {
  PyObject* (*entry)(PyObject*, PyObject* const*, Py_ssize_t) =
      [](PyObject*, PyObject* const* given, Py_ssize_t count) { return invoke(f, arguments(given, count)); };
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(entry)), METH_FASTCALL, nullptr};
}

extern PyMethodDef normalisers[], losses[], information[], process[];

}  // namespace crossent::python
