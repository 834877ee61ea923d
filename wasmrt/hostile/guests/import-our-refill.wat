(module (import "dhow:meter" "refill" (func (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "_start")))
