#pragma once

// In line always: object files of several instruction sets must not share a function.
#define CROSSENT_ALWAYS inline __attribute__((always_inline))
