;; Takes all memory there is, a page at a time, and then fails as it could not.
(module (memory (export "memory") 1)
  (func (export "_start")
    (loop $l
      (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then
        (i32.store (i32.mul (i32.const 65536) (i32.sub (memory.size) (i32.const 1))) (i32.const 1))
        (br $l))))
    (unreachable)))
