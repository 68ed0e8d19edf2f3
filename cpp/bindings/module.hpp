// What module.cpp registers, one function per file.
#pragma once

#include <pybind11/pybind11.h>

namespace crossent::python {

void register_normalisers(pybind11::module_& m);
void register_losses(pybind11::module_& m);
void register_information(pybind11::module_& m);
void register_process(pybind11::module_& m);

}  // namespace crossent::python
