(module (memory (export "memory") 1)
  (global (export "dhow:fuel") (mut i64) (i64.const 0x7fffffffffffffff))
  (func (export "_start")))
