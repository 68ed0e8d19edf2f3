#pragma once

#include <xla/ffi/api/c_api.h>

namespace crossent::jax {

struct function {
  const char* name = nullptr;
  XLA_FFI_Handler* handler = nullptr;
};

extern const function functions[];   // ended by one without a name

}  // namespace crossent::jax
