(module (memory (export "memory") 1) (table $t 1 funcref)
  (func (export "_start")
    (loop $l (drop (table.grow $t (ref.null func) (i32.const 0x7fffffff))) (br $l))))
