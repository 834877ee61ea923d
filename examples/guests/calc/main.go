//go:build wasip1

// Calc is a library: it has no main to run, but functions that are called by
// name, with numbers. Deployed as a function it answers
//
//	dhow call calc add 1 2
package main

//go:wasmexport add
func add(a, b int32) int32 { return a + b }

//go:wasmexport mean
func mean(a, b float64) float64 { return (a + b) / 2 }

// fib takes exponential time: see how a limit ends it.
//
//go:wasmexport fib
func fib(n int32) int64 {
	if n < 2 {
		return int64(n)
	}
	return fib(n-1) + fib(n-2)
}

func main() {}
