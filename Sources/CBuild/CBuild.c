#include "CBuild.h"

#include <hiredis/hiredis.h>

#ifndef PAASBUS_COMMIT
#define PAASBUS_COMMIT ""
#endif

#define TEXT(x) #x
#define VALUE(x) TEXT(x)

const char *cbuild_commit(void) { return PAASBUS_COMMIT; }

const char *cbuild_hiredis(void) {
    return VALUE(HIREDIS_MAJOR) "." VALUE(HIREDIS_MINOR) "." VALUE(HIREDIS_PATCH);
}
