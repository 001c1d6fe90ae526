#pragma once

/// SWITCHYARD_CLONES before a function compiles it once per instruction set; the loader picks one
/// at start-up. Only the function's own body is compiled that way: what it calls must be inlined
/// into it (SWITCHYARD_INLINE), and a lambda inside it is not cloned.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(SWITCHYARD_SANITIZED)
#define SWITCHYARD_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SWITCHYARD_CLONES
#endif

#define SWITCHYARD_INLINE inline __attribute__((always_inline))
