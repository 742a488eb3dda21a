#include <wchar.h>

// POSIX has it behind a feature macro that is not set for Swift's import of the C library.
int wcwidth(wchar_t character);
