// A guest with state: what its initialisation made, and what calls change.
package main

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"time"
)

var (
	words   = map[string]int{}
	counter int64
	began   = time.Now()
	jobs    = make(chan int64)
	results = make(chan int64)
	garbage [][]byte
	file    *os.File
)

func init() {
	for n := range 1000 {
		words[strconv.Itoa(n)] = n
	}
	fmt.Fprintln(os.Stderr, "initialised")
	go func() {
		sum := int64(0)
		for n := range jobs {
			sum += n
			results <- sum
		}
	}()
}

// add adds to a counter and returns it.
//
//go:wasmexport add
func add(n int64) int64 { counter += n; return counter }

// work lets a goroutine that initialisation started add.
//
//go:wasmexport work
func work(n int64) int64 { jobs <- n; return <-results }

//go:wasmexport word
func word(n int64) int64 {
	if v, ok := words[strconv.FormatInt(n, 10)]; ok {
		return int64(v)
	}
	return -1
}

//go:wasmexport random
func random() int64 { return rand.Int64() }

//go:wasmexport seed
func seed() int64 { return int64(maphash.String(maphash.MakeSeed(), "x")) }

// churn makes and drops garbage, keeps some of it, and collects.
//
//go:wasmexport churn
func churn(n int64) int64 {
	for i := range n {
		b := make([]byte, 1000)
		binary.LittleEndian.PutUint64(b, uint64(i))
		if i%10 == 0 {
			garbage = append(garbage, b)
		}
	}
	runtime.GC()
	sum := int64(0)
	for _, b := range garbage {
		sum += int64(binary.LittleEndian.Uint64(b))
	}
	return sum
}

// age is the time since initialisation, in nanoseconds.
//
//go:wasmexport age
func age() int64 { return int64(time.Since(began)) }

//go:wasmexport nap
func nap(ns int64) int64 {
	t := time.Now()
	time.Sleep(time.Duration(ns))
	return int64(time.Since(t))
}

// open opens a file and keeps it; 0 if there is none.
//
//go:wasmexport open
func open() int64 {
	var err error
	if file, err = os.Open("/data/file"); err != nil {
		return 0
	}
	return 1
}

//go:wasmexport shut
func shut() int64 { _ = file.Close(); return 1 }

//go:wasmexport fail
func fail() int64 { panic("failed") }

//go:wasmexport spin
func spin() int64 {
	for n := int64(0); ; n++ {
		counter += n & 1
	}
}

func main() {}
