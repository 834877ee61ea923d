// A plugin in Go, made with Extism's kit.
package main

import (
	"errors"
	"strings"

	"github.com/extism/go-pdk"
)

var ready = func() string { pdk.Log(pdk.LogInfo, "initialised"); return "yes" }()

//go:wasmexport echo
func echo() int32 {
	pdk.Output(pdk.Input())
	return 0
}

//go:wasmexport shout
func shout() int32 {
	greeting, ok := pdk.GetConfig("greeting")
	if !ok {
		pdk.SetError(errors.New("no greeting is configured"))
		return 2
	}
	calls := pdk.GetVarInt("calls") + 1
	pdk.SetVarInt("calls", calls)
	pdk.Log(pdk.LogInfo, "ready: "+ready)
	return output(map[string]any{"text": strings.ToUpper(greeting + " " + pdk.InputString()), "calls": calls})
}

//go:wasmexport fetch
func fetch() int32 {
	r := pdk.NewHTTPRequest(pdk.MethodPost, pdk.InputString())
	r.SetHeader("X-Test", "from Go").SetBody([]byte("the body"))
	response := r.Send()
	return output(map[string]any{
		"status": response.Status(), "type": response.Headers()["content-type"], "body": string(response.Body()),
	})
}

func output(v any) int32 {
	if err := pdk.OutputJSON(v); err != nil {
		pdk.SetError(err)
		return 1
	}
	return 0
}

func main() {}
