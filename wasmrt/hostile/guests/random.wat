;; Random numbers for all of its memory, again and again.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 4096)
  (func (export "_start")
    (loop $l (drop (call $random (i32.const 0) (i32.const 0x0fffffff))) (br $l))))
