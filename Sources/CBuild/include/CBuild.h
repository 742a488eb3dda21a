#ifndef CBUILD_H
#define CBUILD_H

/// What a binary was built from. In C because only there values from outside can be compiled in.

/// The commit; empty where it is not known.
const char *cbuild_commit(void);

/// The version of hiredis, as in `1.2.0`.
const char *cbuild_hiredis(void);

#endif
