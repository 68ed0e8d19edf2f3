#include "module.hpp"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  crossent::python::register_normalisers(m);
  crossent::python::register_losses(m);
  crossent::python::register_information(m);
  crossent::python::register_process(m);
}
