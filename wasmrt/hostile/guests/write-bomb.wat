;; One write of a million pieces, each of 48 MiB that are the same.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1024)
  (func (export "_start") (local $n i32)
    (loop $l
      (i32.store (i32.mul (local.get $n) (i32.const 8)) (i32.const 0))
      (i32.store offset=4 (i32.mul (local.get $n) (i32.const 8)) (i32.const 50331648))
      (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 1000000))))
    (loop $l
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1000000) (i32.const 60000000)))
      (br $l))))
