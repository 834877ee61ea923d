;; Fills all of a memory of 4 GiB.
(module (memory (export "memory") 65535)
  (func (export "_start") (loop $l (memory.fill (i32.const 0) (i32.const 7) (i32.const 0xffff0000)) (br $l))))
