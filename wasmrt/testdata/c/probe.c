// Probe is a test guest: its first argument says what to do.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned sink;

__attribute__((noinline)) static unsigned recurse(unsigned n) {
  volatile char pad[1024];
  pad[n % sizeof pad] = (char)n;
  return recurse(n + 1) + pad[n % 7];
}

static long long monotonic(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    if (getenv("GATEWAY_INTERFACE")) {
      printf("Content-Type: text/plain\n\nhello from C: %s\n", getenv("PATH_INFO"));
    }
    return 0;
  }
  const char *what = argv[1], *arg = argc > 2 ? argv[2] : "";
  if (!strcmp(what, "args")) {
    for (int i = 0; i < argc; i++) puts(argv[i]);
  } else if (!strcmp(what, "env")) {
    const char *v = getenv(arg);
    puts(v ? v : "");
  } else if (!strcmp(what, "cat")) {
    int c;
    while ((c = getchar()) != EOF) putchar(c);
  } else if (!strcmp(what, "lines")) {
    for (int k = 0; k < atoi(arg); k++) printf("out %d\n", k);
    fprintf(stderr, "last words");
  } else if (!strcmp(what, "file")) {
    FILE *f = fopen(arg, "r");
    int c;
    while (f && (c = getc(f)) != EOF) putchar(c);
  } else if (!strcmp(what, "err")) {
    fprintf(stderr, "%s\n", arg);
  } else if (!strcmp(what, "exit")) {
    exit(atoi(arg));
  } else if (!strcmp(what, "spin")) {
    puts("spinning");
    fflush(stdout);
    for (;;) sink++;
  } else if (!strcmp(what, "sleep")) {
    puts("sleeping");
    fflush(stdout);
    long long start = monotonic(), ns = atoll(arg) * 1000000LL;
    struct timespec t = {ns / 1000000000LL, ns % 1000000000LL};
    nanosleep(&t, NULL);
    printf("%lld\n", (monotonic() - start) / 1000000);
  } else if (!strcmp(what, "sleep-until")) {  // absolute, on both clocks
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 2000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    int a = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    struct timespec u;
    clock_gettime(CLOCK_MONOTONIC, &u);
    int early = u.tv_sec < t.tv_sec || (u.tv_sec == t.tv_sec && u.tv_nsec < t.tv_nsec);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 2000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    int b = clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
    clock_gettime(CLOCK_REALTIME, &u);
    early |= u.tv_sec < t.tv_sec || (u.tv_sec == t.tv_sec && u.tv_nsec < t.tv_nsec);
    printf("%d %d early=%d\n", a, b, early);
  } else if (!strcmp(what, "poll")) {  // input, output and a timeout at once
    struct pollfd p[2] = {{0, POLLIN, 0}, {1, POLLOUT, 0}};
    int n = poll(p, atoi(arg), 5);
    printf("%d in=%d out=%d\n", n, (p[0].revents & POLLIN) != 0, (p[1].revents & POLLOUT) != 0);
  } else if (!strcmp(what, "trap")) {
    __builtin_trap();
  } else if (!strcmp(what, "grow")) {
    for (int n = 1;; n++) {
      volatile char *p = malloc(1 << 20); // volatile, or it is optimised away
      if (!p) {
        fprintf(stderr, "no memory after %d MiB\n", n - 1);
        return 7;
      }
      for (int k = 0; k < 1 << 20; k += 4096) p[k] = 1;
      printf("%d\n", n);
    }
  } else if (!strcmp(what, "clock")) {
    printf("%lld\n", (long long)time(NULL));
  } else if (!strcmp(what, "random")) {
    unsigned char b[16];
    getentropy(b, sizeof b);
    for (unsigned i = 0; i < sizeof b; i++) printf("%02x", b[i]);
    puts("");
  } else if (!strcmp(what, "recurse")) {
    printf("%u\n", recurse(1));
  }
  return 0;
}
