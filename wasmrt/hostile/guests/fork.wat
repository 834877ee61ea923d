;; Has the host call this function in two new instances.
(module
  (import "bomb" "fork" (func $fork))
  (memory (export "memory") 1)
  (func (export "boom") (call $fork) (call $fork)))
