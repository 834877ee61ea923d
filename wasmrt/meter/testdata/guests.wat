;; Guests of the tests: wat2wasm --debug-names guests.wat
(module
  (memory (export "memory") 1 400)
  (table 64 funcref)
  (type $step (func (param i32) (result i32)))
  (elem (i32.const 0) $hop $fib)
  (data $bytes "metered")

  (func $three (export "three") (result i32)
    i32.const 1
    i32.const 2
    i32.add)

  ;; 7 instructions an iteration, and 1 at the end.
  (func (export "count") (param $n i32) (result i32)
    loop
      local.get $n
      i32.const 1
      i32.sub
      local.tee $n
      i32.const 0
      i32.ne
      br_if 0
    end
    local.get $n)

  ;; The head of the loop takes a parameter.
  (func (export "sum") (param $n i32) (result i32)
    i32.const 0
    loop (param i32) (result i32)
      local.get $n
      i32.add
      local.get $n
      i32.const 1
      i32.sub
      local.tee $n
      br_if 0
    end)

  (func $fib (export "fib") (param $n i32) (result i32)
    local.get $n
    i32.const 2
    i32.lt_u
    if (result i32)
      local.get $n
    else
      local.get $n
      i32.const 1
      i32.sub
      call $fib
      local.get $n
      i32.const 2
      i32.sub
      call $fib
      i32.add
    end)

  (func $deep (export "deep") (param $n i32) (result i32)
    local.get $n
    if (result i32)
      local.get $n
      i32.const 1
      i32.sub
      call $deep
      i32.const 1
      i32.add
    else
      i32.const 0
    end)

  ;; It calls itself by the table.
  (func $hop (export "hop") (param $n i32) (result i32)
    local.get $n
    if (result i32)
      local.get $n
      i32.const 1
      i32.sub
      i32.const 0
      call_indirect (type $step)
      i32.const 1
      i32.add
    else
      i32.const 0
    end)

  ;; Many calls that go deep, one after the other.
  (func (export "dives") (param $n i32)
    loop
      i32.const 100
      call $deep
      drop
      local.get $n
      i32.const 1
      i32.sub
      local.tee $n
      br_if 0
    end)

  (func $trap (export "trap") (param $n i32)
    loop
      i32.const 1
      local.get $n
      i32.div_u
      drop
      local.get $n
      i32.const 1
      i32.sub
      local.set $n
      br 0
    end)

  (func (export "forever") loop br 0 end)

  (func (export "fill") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill)
  (func (export "copy") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
  (func (export "init") (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.init $bytes)
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
)
