#ifndef CSTART_H
#define CSTART_H

/// What happens before Swift's runtime begins. In C because only there it can be said what comes first.

/// Takes out of the environment what was put there for the runtime, so that no other program inherits it. To be called
/// at the beginning of main, while there is one thread.
void cstart_restore_environment(void);

#endif
