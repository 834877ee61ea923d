;; The Extism kernel of one guest: the memory through which a plugin and the
;; host pass bytes to each other, and the functions by which the plugin moves
;; them eight at a time. Everything else is the host's: what is imported here is
;; exported again. The host keeps the blocks of the memory (arena.go), so nothing that a plugin
;; stores can break them.
;;
;; After a change: go generate ./wasmrt/extism
(module
  (func (export "alloc") (import "extism:host/env" "alloc") (param i64) (result i64))
  (func (export "free") (import "extism:host/env" "free") (param i64))
  (func (export "length") (import "extism:host/env" "length") (param i64) (result i64))
  (func (export "length_unsafe") (import "extism:host/env" "length_unsafe") (param i64) (result i64))
  (func (export "input_set") (import "extism:host/env" "input_set") (param i64 i64))
  (func (export "output_set") (import "extism:host/env" "output_set") (param i64 i64))
  (func (export "output_offset") (import "extism:host/env" "output_offset") (result i64))
  (func (export "output_length") (import "extism:host/env" "output_length") (result i64))
  (func (export "error_set") (import "extism:host/env" "error_set") (param i64))
  (func (export "error_get") (import "extism:host/env" "error_get") (result i64))
  (func (export "memory_bytes") (import "extism:host/env" "memory_bytes") (result i64))
  (func (export "reset") (import "extism:host/env" "reset"))
  (func (export "config_get") (import "extism:host/env" "config_get") (param i64) (result i64))
  (func (export "var_get") (import "extism:host/env" "var_get") (param i64) (result i64))
  (func (export "var_set") (import "extism:host/env" "var_set") (param i64 i64))
  (func (export "http_request") (import "extism:host/env" "http_request") (param i64 i64) (result i64))
  (func (export "http_status_code") (import "extism:host/env" "http_status_code") (result i32))
  (func (export "http_headers") (import "extism:host/env" "http_headers") (result i64))
  (func (export "log_trace") (import "extism:host/env" "log_trace") (param i64))
  (func (export "log_debug") (import "extism:host/env" "log_debug") (param i64))
  (func (export "log_info") (import "extism:host/env" "log_info") (param i64))
  (func (export "log_warn") (import "extism:host/env" "log_warn") (param i64))
  (func (export "log_error") (import "extism:host/env" "log_error") (param i64))
  (func (export "get_log_level") (import "extism:host/env" "get_log_level") (result i32))

  (memory (export "memory") 1)

  ;; The input of the call: where it is, its length, and in how many places eight
  ;; bytes of it begin.
  (global $input (export "input") (mut i64) (i64.const 0))
  (global $length (export "length of input") (mut i64) (i64.const 0))
  (global $eights (export "eights of input") (mut i64) (i64.const 0))

  (func (export "input_offset") (result i64) (global.get $input))
  (func (export "input_length") (result i64) (global.get $length))

  ;; Beyond the end of the input and the memory, loads give 0 and stores do nothing.

  (func (export "input_load_u8") (param $at i64) (result i32)
    (if (i64.ge_u (local.get $at) (global.get $length))
      (then (return (i32.const 0))))
    (i32.load8_u (i32.wrap_i64 (i64.add (global.get $input) (local.get $at)))))

  (func (export "input_load_u64") (param $at i64) (result i64)
    (if (i64.ge_u (local.get $at) (global.get $eights))
      (then (return (i64.const 0))))
    (i64.load (i32.wrap_i64 (i64.add (global.get $input) (local.get $at)))))

  (func (export "load_u8") (param $at i64) (result i32)
    (if (i64.ge_u (local.get $at) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
      (then (return (i32.const 0))))
    (i32.load8_u (i32.wrap_i64 (local.get $at))))

  (func (export "load_u64") (param $at i64) (result i64)
    (if (i64.gt_u (local.get $at) (i64.sub (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)) (i64.const 8)))
      (then (return (i64.const 0))))
    (i64.load (i32.wrap_i64 (local.get $at))))

  (func (export "store_u8") (param $at i64) (param $value i32)
    (if (i64.ge_u (local.get $at) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
      (then (return)))
    (i32.store8 (i32.wrap_i64 (local.get $at)) (local.get $value)))

  (func (export "store_u64") (param $at i64) (param $value i64)
    (if (i64.gt_u (local.get $at) (i64.sub (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)) (i64.const 8)))
      (then (return)))
    (i64.store (i32.wrap_i64 (local.get $at)) (local.get $value))))
