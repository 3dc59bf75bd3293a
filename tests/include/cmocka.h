/* SPDX-License-Identifier: MIT */
/* cmocka 1.1 and 2.0 as one: the tests use the names of 1.1. */
#include_next <cmocka.h>

/* 2.0 calls it deprecated. */
#ifdef assert_int_in_range
#undef assert_in_range
#define assert_in_range(value, minimum, maximum) assert_int_in_range(value, minimum, maximum)
#endif

/* 2.0 has a macro of this name, and tests have functions. */
#undef stop
