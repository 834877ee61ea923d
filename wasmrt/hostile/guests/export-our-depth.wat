(module (memory (export "memory") 1)
  (func (export "dhow:depth"))
  (func (export "_start")))
