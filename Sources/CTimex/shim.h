// Whether the kernel's clock is synchronised: adjtimex(2), which Swift's Glibc module leaves out.
#include <sys/timex.h>
