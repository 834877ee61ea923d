;; Tail calls: wat2wasm --enable-tail-call --debug-names tail.wat
(module
  (func $down (export "down") (param $n i32) (result i32)
    local.get $n
    i32.eqz
    if
      i32.const 42
      return
    end
    local.get $n
    i32.const 1
    i32.sub
    return_call $down)
)
