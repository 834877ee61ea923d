package fake

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"dhow.dev/dhow/node/runtime"
)

// Behaviour is what one run does.
type Behaviour struct {
	PrepareErr, StartErr     error
	PrepareDelay, StartDelay time.Duration
	// Written when it starts.
	Stdout, Stderr string
	// It ends by itself with Exit after this time, if Ends.
	Ends      bool
	ExitAfter time.Duration
	Exit      runtime.Exit
	// It does not end when asked to, only when killed.
	Stubborn bool
	// Its memory and fuel, for Stats.
	Memory, Fuel uint64
	// What can be called in it.
	Functions map[string]Function
}

// Script says what a task's run does. Only t.ID, names and t.Spec are filled
// in when it is asked on Prepare and Start.
type Script func(t *runtime.Task) Behaviour

// Args is the default script: the task's arguments are its program.
//
//	exit=CODE after=DURATION stdout=TEXT stderr=TEXT stubborn function=echo|fail|wait
//	prepare-error=TEXT start-error=TEXT permanent prepare=DURATION start=DURATION
func Args(t *runtime.Task) Behaviour {
	var b Behaviour
	permanent := false
	for _, a := range t.Spec.GetArgs() {
		key, value, _ := strings.Cut(a, "=")
		d, _ := time.ParseDuration(value)
		switch key {
		case "exit":
			code, _ := strconv.ParseInt(value, 10, 32)
			b.Ends, b.Exit = true, runtime.Exit{Code: int32(code), Reason: "Exited"}
		case "after":
			b.ExitAfter = d
		case "stdout":
			b.Stdout += value
		case "stderr":
			b.Stderr += value
		case "function":
			if b.Functions == nil {
				b.Functions = map[string]Function{}
			}
			b.Functions[value] = functions[value]
		case "stubborn":
			b.Stubborn = true
		case "prepare":
			b.PrepareDelay = d
		case "start":
			b.StartDelay = d
		case "prepare-error":
			b.PrepareErr = fmt.Errorf("%s", value)
		case "start-error":
			b.StartErr = fmt.Errorf("%s", value)
		case "permanent":
			permanent = true
		}
	}
	if b.PrepareErr != nil {
		b.PrepareErr = &runtime.Error{Reason: "BadModule", Permanent: permanent, Err: b.PrepareErr}
	}
	if b.StartErr != nil {
		b.StartErr = &runtime.Error{Reason: "StartFailed", Permanent: permanent, Err: b.StartErr}
	}
	return b
}
