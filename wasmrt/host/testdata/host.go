// Host is a test guest: its arguments are calls of the functions of dhow:host.
package main

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"
)

//go:wasmimport dhow:host log
func hostLog(level int32, text unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host last_error
func lastError(buf unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host config_get
func configGet(name unsafe.Pointer, nameLen uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host secret_get
func secretGet(name unsafe.Pointer, nameLen uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host kv_get
func kvGet(key unsafe.Pointer, keyLen uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host kv_set
func kvSet(key unsafe.Pointer, keyLen uint32, value unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host kv_delete
func kvDelete(key unsafe.Pointer, keyLen uint32) int32

//go:wasmimport dhow:host kv_list
func kvList(prefix unsafe.Pointer, prefixLen uint32, after unsafe.Pointer, afterLen uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host kv_add
func kvAdd(key unsafe.Pointer, keyLen uint32, delta int64, sum unsafe.Pointer) int32

//go:wasmimport dhow:host http_send
func httpSend(head unsafe.Pointer, headLen uint32, body unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host http_status
func httpStatus(result int32) int32

//go:wasmimport dhow:host http_header
func httpHeader(result int32, name unsafe.Pointer, nameLen uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host invoke
func invoke(name unsafe.Pointer, nameLen uint32, input unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host result_size
func resultSize(result int32) int32

//go:wasmimport dhow:host result_read
func resultRead(result int32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport dhow:host result_close
func resultClose(result int32) int32

func pointer(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

// fill calls f with a buffer that is large enough for what it has to say.
func fill(f func(unsafe.Pointer, uint32) int32) (string, int32) {
	buf := make([]byte, 8)
	for {
		n := f(unsafe.Pointer(&buf[0]), uint32(len(buf)))
		switch {
		case n < 0:
			return "", n
		case int(n) <= len(buf):
			return string(buf[:n]), 0
		}
		buf = make([]byte, n)
	}
}

func show(text string, failed int32) {
	if failed < 0 {
		why, _ := fill(lastError)
		text = fmt.Sprint(failed, " ", why)
	}
	fmt.Println(text)
}

func result(r int32) (string, int32) {
	if r < 0 {
		return "", r
	}
	size := resultSize(r)
	var all []byte
	buf := make([]byte, 16)
	for {
		n := resultRead(r, unsafe.Pointer(&buf[0]), uint32(len(buf)))
		if n <= 0 {
			break
		}
		all = append(all, buf[:n]...)
	}
	resultClose(r)
	return fmt.Sprintf("%d:%s", size, all), 0
}

func main() {
	for a := os.Args[1:]; len(a) > 0; a = a[3:] {
		xp, xl := pointer(a[1])
		yp, yl := pointer(a[2])
		switch a[0] {
		case "log":
			level, _ := strconv.Atoi(a[1])
			show("", hostLog(int32(level), yp, yl))
		case "config":
			show(fill(func(p unsafe.Pointer, n uint32) int32 { return configGet(xp, xl, p, n) }))
		case "secret":
			show(fill(func(p unsafe.Pointer, n uint32) int32 { return secretGet(xp, xl, p, n) }))
		case "get":
			show(fill(func(p unsafe.Pointer, n uint32) int32 { return kvGet(xp, xl, p, n) }))
		case "set":
			show("", kvSet(xp, xl, yp, yl))
		case "delete":
			show("", kvDelete(xp, xl))
		case "list":
			show(fill(func(p unsafe.Pointer, n uint32) int32 { return kvList(xp, xl, yp, yl, p, n) }))
		case "add":
			delta, _ := strconv.ParseInt(a[2], 10, 64)
			var sum int64
			failed := kvAdd(xp, xl, delta, unsafe.Pointer(&sum))
			show(strconv.FormatInt(sum, 10), failed)
		case "http":
			r := httpSend(xp, xl, yp, yl)
			if r > 0 {
				np, nl := pointer("content-type")
				kind, _ := fill(func(p unsafe.Pointer, n uint32) int32 { return httpHeader(r, np, nl, p, n) })
				fmt.Print(httpStatus(r), " ", kind, " ")
			}
			show(result(r))
		case "invoke":
			show(result(invoke(xp, xl, yp, yl)))
		default:
			os.Exit(2)
		}
	}
}
