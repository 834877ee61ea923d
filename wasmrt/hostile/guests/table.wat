(module (memory (export "memory") 1) (table $t 1 externref)
  (func (export "_start")
    (loop $l (br_if $l (i32.ne (table.grow $t (ref.null extern) (i32.const 4096)) (i32.const -1))))
    (unreachable)))
