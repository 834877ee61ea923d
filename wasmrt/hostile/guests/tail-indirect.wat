;; Two functions that take turns through a table.
(module (memory (export "memory") 1)
  (type $t (func (param i32)))
  (table funcref (elem $a $b))
  (func $a (type $t) (return_call_indirect (type $t) (i32.const 1) (i32.const 1)))
  (func $b (type $t) (return_call_indirect (type $t) (i32.const 0) (i32.const 0)))
  (func (export "_start") (call $a (i32.const 0))))
