#include "CStart.h"

#include <stdlib.h>

static const char name[] = "SWIFT_BACKTRACE";
static int is_ours = 0;

// Before main begins, Swift's runtime looks for its program that prints backtraces: it asks in which file it is itself,
// and for six files near that. This takes a twentieth of a start, and there is no such program where the runtime is part
// of the binary. A debug build, whose runtime comes with the tools, keeps it.
#ifndef DEBUG
__attribute__((constructor(101))) static void leave_backtraces_out(void) {
    is_ours = getenv(name) == NULL && setenv(name, "enable=no,swift-backtrace=none", 0) == 0;
}
#endif

void cstart_restore_environment(void) {
    if (is_ours) unsetenv(name);
}
