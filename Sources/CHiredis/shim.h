// Only the reply reader of hiredis is used; the sockets are SwiftNIO's.
#include <hiredis/read.h>
