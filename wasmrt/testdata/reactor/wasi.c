// A guest that calls each function of preview 1 with whatever it is told.
#include <stdint.h>

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
typedef int32_t i;
typedef int64_t I;

WASI(fd_advise) i w0(i, I, I, i);
WASI(fd_allocate) i w1(i, I, I);
WASI(fd_close) i w2(i);
WASI(fd_datasync) i w3(i);
WASI(fd_fdstat_get) i w4(i, i);
WASI(fd_fdstat_set_flags) i w5(i, i);
WASI(fd_fdstat_set_rights) i w6(i, I, I);
WASI(fd_filestat_get) i w7(i, i);
WASI(fd_filestat_set_size) i w8(i, I);
WASI(fd_filestat_set_times) i w9(i, I, I, i);
WASI(fd_pread) i w10(i, i, i, I, i);
WASI(fd_prestat_get) i w11(i, i);
WASI(fd_prestat_dir_name) i w12(i, i, i);
WASI(fd_pwrite) i w13(i, i, i, I, i);
WASI(fd_read) i w14(i, i, i, i);
WASI(fd_readdir) i w15(i, i, i, I, i);
WASI(fd_renumber) i w16(i, i);
WASI(fd_seek) i w17(i, I, i, i);
WASI(fd_sync) i w18(i);
WASI(fd_tell) i w19(i, i);
WASI(fd_write) i w20(i, i, i, i);
WASI(path_create_directory) i w21(i, i, i);
WASI(path_filestat_get) i w22(i, i, i, i, i);
WASI(path_filestat_set_times) i w23(i, i, i, i, I, I, i);
WASI(path_link) i w24(i, i, i, i, i, i, i);
WASI(path_open) i w25(i, i, i, i, i, I, I, i, i);
WASI(path_readlink) i w26(i, i, i, i, i, i);
WASI(path_remove_directory) i w27(i, i, i);
WASI(path_rename) i w28(i, i, i, i, i, i);
WASI(path_symlink) i w29(i, i, i, i, i);
WASI(path_unlink_file) i w30(i, i, i);
WASI(poll_oneoff) i w31(i, i, i, i);
WASI(random_get) i w32(i, i);
WASI(sock_accept) i w33(i, i, i);
WASI(sock_recv) i w34(i, i, i, i, i, i);
WASI(sock_send) i w35(i, i, i, i, i);
WASI(sock_shutdown) i w36(i, i);
WASI(args_get) i w37(i, i);
WASI(environ_get) i w38(i, i);
WASI(clock_time_get) i w39(i, I, i);

static unsigned char room[1 << 16];

__attribute__((export_name("room"))) i where(void) { return (i)(intptr_t)room; }

__attribute__((export_name("call"))) i call(i f, I a, I b, I c, I d, I e, I g, I h, I j, I k) {
  i A = (i)a, B = (i)b, C = (i)c, D = (i)d, E = (i)e, G = (i)g, H = (i)h;
  switch (f) {
    case 0: return w0(A, b, c, D);
    case 1: return w1(A, b, c);
    case 2: return w2(A);
    case 3: return w3(A);
    case 4: return w4(A, B);
    case 5: return w5(A, B);
    case 6: return w6(A, b, c);
    case 7: return w7(A, B);
    case 8: return w8(A, b);
    case 9: return w9(A, b, c, D);
    case 10: return w10(A, B, C, d, E);
    case 11: return w11(A, B);
    case 12: return w12(A, B, C);
    case 13: return w13(A, B, C, d, E);
    case 14: return w14(A, B, C, D);
    case 15: return w15(A, B, C, d, E);
    case 16: return w16(A, B);
    case 17: return w17(A, b, C, D);
    case 18: return w18(A);
    case 19: return w19(A, B);
    case 20: return w20(A, B, C, D);
    case 21: return w21(A, B, C);
    case 22: return w22(A, B, C, D, E);
    case 23: return w23(A, B, C, D, e, g, H);
    case 24: return w24(A, B, C, D, E, G, H);
    case 25: return w25(A, B, C, D, E, g, h, (i)j, (i)k);
    case 26: return w26(A, B, C, D, E, G);
    case 27: return w27(A, B, C);
    case 28: return w28(A, B, C, D, E, G);
    case 29: return w29(A, B, C, D, E);
    case 30: return w30(A, B, C);
    case 31: return w31(A, B, C, D);
    case 32: return w32(A, B);
    case 33: return w33(A, B, C);
    case 34: return w34(A, B, C, D, E, G);
    case 35: return w35(A, B, C, D, E);
    case 36: return w36(A, B);
    case 37: return w37(A, B);
    case 38: return w38(A, B);
    case 39: return w39(A, b, C);
  }
  return -1;
}
