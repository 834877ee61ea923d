// Files is a test guest: its arguments are operations on files, done one after
// another. Each prints what it found or the name of its error.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static char *arg(char ***next) { return **next ? *(*next)++ : ""; }

static void result(int failed) { puts(failed ? strerror(errno) : "ok"); }

static void cat(const char *path, int flags) {
  char buf[256];
  int fd = open(path, flags);
  ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);
  if (n < 0)
    result(1);
  else
    printf("%.*s\n", (int)n, buf);
  if (fd >= 0) close(fd);
}

static void put(const char *path, int flags, const char *text) {
  int fd = open(path, flags, 0600);
  result(fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text));
  if (fd >= 0) close(fd);
}

static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void ls(const char *path) {
  DIR *d = opendir(path);
  if (!d) {
    result(1);
    return;
  }
  char *names[4096];
  int n = 0;
  for (struct dirent *e; (e = readdir(d)) && n < 4096;) names[n++] = strdup(e->d_name);
  closedir(d);
  qsort(names, n, sizeof *names, compare);
  printf("%d:", n);
  for (int i = 0; i < n && i < 8; i++) printf(" %s", names[i]);
  puts("");
}

// from opens through a descriptor of a directory, not through its path.
static void from(const char *dir, const char *path) {
  char buf[256];
  int d = open(dir, O_RDONLY | O_DIRECTORY);
  int fd = d < 0 ? -1 : openat(d, path, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);
  if (n < 0)
    result(1);
  else
    printf("%.*s\n", (int)n, buf);
  if (fd >= 0) close(fd);
  if (d >= 0) close(d);
}

static void many(const char *path, int n) {
  int have = 0;
  while (have < n && open(path, O_RDONLY) >= 0) have++;
  printf("%d %s\n", have, have < n ? strerror(errno) : "ok");
}

// race reads a path again and again and tells what it ever found.
static void race(const char *path, int n, const char *bad) {
  int found = 0, leaked = 0;
  for (int i = 0; i < n; i++) {
    char buf[256] = {0};
    int fd = open(path, O_RDONLY);
    if (fd < 0) continue;
    if (read(fd, buf, sizeof buf - 1) > 0) found++;
    if (strstr(buf, bad)) leaked++;
    close(fd);
  }
  printf("leaked %d\n", leaked);
  (void)found;
}

int main(int argc, char **argv) {
  (void)argc;
  for (char **next = argv + 1; *next;) {
    const char *what = arg(&next), *path = arg(&next);
    struct stat st;
    char buf[256];
    if (!strcmp(what, "cat")) cat(path, O_RDONLY);
    else if (!strcmp(what, "cat-nofollow")) cat(path, O_RDONLY | O_NOFOLLOW);
    else if (!strcmp(what, "create")) put(path, O_WRONLY | O_CREAT | O_TRUNC, arg(&next));
    else if (!strcmp(what, "exclusive")) put(path, O_WRONLY | O_CREAT | O_EXCL, arg(&next));
    else if (!strcmp(what, "append")) put(path, O_WRONLY | O_APPEND, arg(&next));
    else if (!strcmp(what, "rewrite")) put(path, O_RDWR, arg(&next));
    else if (!strcmp(what, "truncate")) result(truncate(path, atoi(arg(&next))));
    else if (!strcmp(what, "ls")) ls(path);
    else if (!strcmp(what, "from")) from(path, arg(&next));
    else if (!strcmp(what, "many")) many(path, atoi(arg(&next)));
    else if (!strcmp(what, "race")) { int n = atoi(arg(&next)); race(path, n, arg(&next)); }
    else if (!strcmp(what, "mkdir")) result(mkdir(path, 0700));
    else if (!strcmp(what, "rmdir")) result(rmdir(path));
    else if (!strcmp(what, "rm")) result(unlink(path));
    else if (!strcmp(what, "mv")) result(rename(path, arg(&next)));
    else if (!strcmp(what, "ln")) result(link(path, arg(&next)));
    else if (!strcmp(what, "symlink")) result(symlink(path, arg(&next)));
    else if (!strcmp(what, "readlink")) {
      ssize_t n = readlink(path, buf, sizeof buf);
      if (n < 0) result(1); else printf("%.*s\n", (int)n, buf);
    } else if (!strcmp(what, "stat")) {
      if (stat(path, &st)) result(1); else printf("%s %lld\n", S_ISDIR(st.st_mode) ? "dir" : S_ISREG(st.st_mode) ? "file" : "other", (long long)st.st_size);
    } else if (!strcmp(what, "touch")) {
      struct timeval t[2] = {{1000, 0}, {2000, 0}};
      if (utimes(path, t) || stat(path, &st)) result(1); else printf("%lld %lld\n", (long long)st.st_atim.tv_sec, (long long)st.st_mtim.tv_sec);
    } else if (!strcmp(what, "touch-open")) {
      struct timespec t[2] = {{3000, 5}, {4000, 7}};
      int fd = open(path, O_RDWR);
      if (fd < 0 || futimens(fd, t) || fstat(fd, &st)) result(1); else printf("%lld.%ld\n", (long long)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec);
    } else if (!strcmp(what, "seek")) {
      int fd = open(path, O_RDWR);
      off_t end = lseek(fd, -2, SEEK_END);
      ssize_t n = pread(fd, buf, 3, 1), m = pwrite(fd, "X", 1, 0);
      printf("%lld %.*s %zd %lld\n", (long long)end, (int)n, buf, m, (long long)lseek(fd, 0, SEEK_CUR));
      close(fd);
    } else {
      printf("no operation %s\n", what);
      return 2;
    }
  }
  return 0;
}
