(module (memory (export "memory") 1)
  (func $f (export "_initialize") (call $f) (call $f)))
