// Host is a test guest: its arguments are calls of the functions of dhow:host.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST(name) __attribute__((import_module("dhow:host"), import_name(#name)))

HOST(log) int32_t host_log(int32_t level, const char *text, size_t len);
HOST(last_error) int32_t last_error(char *buf, size_t len);
HOST(config_get) int32_t config_get(const char *name, size_t name_len, char *buf, size_t len);
HOST(secret_get) int32_t secret_get(const char *name, size_t name_len, char *buf, size_t len);
HOST(kv_get) int32_t kv_get(const char *key, size_t key_len, char *buf, size_t len);
HOST(kv_set) int32_t kv_set(const char *key, size_t key_len, const char *value, size_t len);
HOST(kv_delete) int32_t kv_delete(const char *key, size_t key_len);
HOST(kv_list) int32_t kv_list(const char *prefix, size_t prefix_len, const char *after, size_t after_len, char *buf, size_t len);
HOST(kv_add) int32_t kv_add(const char *key, size_t key_len, int64_t delta, int64_t *sum);
HOST(http_send) int32_t http_send(const char *head, size_t head_len, const char *body, size_t len);
HOST(http_status) int32_t http_status(int32_t result);
HOST(http_header) int32_t http_header(int32_t result, const char *name, size_t name_len, char *buf, size_t len);
HOST(invoke) int32_t invoke(const char *name, size_t name_len, const char *input, size_t len);
HOST(result_size) int32_t result_size(int32_t result);
HOST(result_read) int32_t result_read(int32_t result, char *buf, size_t len);
HOST(result_close) int32_t result_close(int32_t result);

static char buf[4096];

static void text(int32_t n) {
  if (n < 0) {
    int32_t e = last_error(buf, sizeof buf);
    printf("%d %.*s\n", n, e, buf);
  } else {
    printf("%.*s\n", n, buf);
  }
}

static void result(int32_t r) {
  if (r < 0) {
    text(r);
    return;
  }
  printf("%d:", result_size(r));
  int32_t n;
  while ((n = result_read(r, buf, 16)) > 0) printf("%.*s", n, buf);
  puts("");
  result_close(r);
}

int main(int argc, char **argv) {
  (void)argc;
  for (char **a = argv + 1; *a; a += 3) {
    const char *what = a[0], *x = a[1], *y = a[2];
    size_t xl = strlen(x), yl = strlen(y);
    if (!strcmp(what, "log")) text(host_log(atoi(x), y, yl));
    else if (!strcmp(what, "config")) text(config_get(x, xl, buf, sizeof buf));
    else if (!strcmp(what, "secret")) text(secret_get(x, xl, buf, sizeof buf));
    else if (!strcmp(what, "get")) text(kv_get(x, xl, buf, sizeof buf));
    else if (!strcmp(what, "set")) text(kv_set(x, xl, y, yl));
    else if (!strcmp(what, "delete")) text(kv_delete(x, xl));
    else if (!strcmp(what, "list")) text(kv_list(x, xl, y, yl, buf, sizeof buf));
    else if (!strcmp(what, "add")) {
      int64_t sum = 0;
      int32_t e = kv_add(x, xl, atoll(y), &sum);
      if (e < 0) text(e); else printf("%lld\n", (long long)sum);
    } else if (!strcmp(what, "http")) {
      int32_t r = http_send(x, xl, y, yl);
      if (r > 0) {
        printf("%d ", http_status(r));
        int32_t n = http_header(r, "content-type", 12, buf, sizeof buf);
        printf("%.*s ", n > 0 ? n : 0, buf);
      }
      result(r);
    } else if (!strcmp(what, "invoke")) result(invoke(x, xl, y, yl));
    else return 2;
  }
  return 0;
}
