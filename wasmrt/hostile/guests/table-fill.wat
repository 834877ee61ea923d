(module (memory (export "memory") 1) (table $t 1000000 externref)
  (func (export "_start")
    (loop $l (table.fill $t (i32.const 0) (ref.null extern) (i32.const 1000000)) (br $l))))
