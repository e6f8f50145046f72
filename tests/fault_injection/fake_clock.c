/* Makes the wall clock jump at one moment, for every program that this is preloaded into:
   from CLOCK_JUMPS_AT (seconds since the epoch) on it is CLOCK_JUMPS_BY seconds off.
   Monotonic clocks, and the times of files, go on as they are. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t off(time_t now) {
    const char *at = getenv("CLOCK_JUMPS_AT"), *by = getenv("CLOCK_JUMPS_BY");
    return at && by && now >= atoll(at) ? now + atoll(by) : now;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int failed = (int)syscall(SYS_clock_gettime, clock, out);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        out->tv_sec = off(out->tv_sec);
    return failed;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    int failed = (int)syscall(SYS_gettimeofday, out, zone);
    if (!failed)
        out->tv_sec = off(out->tv_sec);
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
