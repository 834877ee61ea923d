package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dhow.dev/dhow/node/runtime"
)

func (s *suite) caller(t *testing.T) runtime.Caller {
	t.Helper()
	c, ok := s.r.(runtime.Caller)
	if !ok {
		t.Skip("the runtime is no Caller")
	}
	return c
}

func (s *suite) call(t *testing.T, id runtime.ID, c runtime.Call) (runtime.CallResult, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.caller(t).Call(ctx, id, c)
}

func testCall(t *testing.T, s *suite) {
	c := s.caller(t)
	task, _ := s.run(t, Functions, "a")
	all, err := c.Functions(t.Context(), task.ID)
	var names []string
	for _, f := range all {
		names = append(names, f.Name)
	}
	if err != nil || !slices.Equal(names, []string{"echo", "fail", "wait"}) {
		t.Errorf("Functions answered %v, %v", names, err)
	}
	for _, data := range [][]byte{nil, []byte("hello"), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)} {
		got, err := s.call(t, task.ID, runtime.Call{Function: "echo", Data: data})
		if err != nil || !bytes.Equal(got.Data, data) {
			t.Errorf("echo of %d bytes answered %d bytes, %v", len(data), len(got.Data), err)
		}
	}
	if _, err := s.call(t, task.ID, runtime.Call{Function: "fail"}); reason(err) != runtime.ReasonFunctionFailed {
		t.Errorf("fail answered %v", err)
	}
	st, err := s.r.Stats(t.Context(), task.ID)
	if err != nil || st.Calls != 4 || st.Failed != 1 {
		t.Errorf("after 4 calls, 1 of which failed, Stats are %+v, %v", st, err)
	}
}

func testCallRefused(t *testing.T, s *suite) {
	nobody := runtime.ID{Instance: "nobody", Task: "main", Run: 7}
	if _, err := s.call(t, nobody, runtime.Call{}); !errors.Is(err, runtime.ErrUnknown) {
		t.Errorf("a call of an unknown run answered %v, want ErrUnknown", err)
	}
	if _, err := s.caller(t).Functions(t.Context(), nobody); !errors.Is(err, runtime.ErrUnknown) {
		t.Errorf("Functions of an unknown run answered %v, want ErrUnknown", err)
	}
	plain, _ := s.run(t, RunForever, "a")
	if _, err := s.call(t, plain.ID, runtime.Call{}); reason(err) != runtime.ReasonNotCallable {
		t.Errorf("a call of what is no function answered %v", err)
	}
	task, _ := s.run(t, Functions, "b")
	_, err := s.call(t, task.ID, runtime.Call{Function: "nothing"})
	if reason(err) != runtime.ReasonNoSuchFunction || !strings.Contains(err.Error(), "echo") {
		t.Errorf("a call of no function answered %v, want the functions there are", err)
	}
	if _, err := s.call(t, task.ID, runtime.Call{Function: "echo", Data: make([]byte, runtime.MaxCallBytes+1)}); reason(err) != runtime.ReasonTooLarge {
		t.Errorf("a call with too much data answered %v", err)
	}
	s.stop(t, task.ID, patience)
	if _, err := s.call(t, task.ID, runtime.Call{Function: "echo"}); reason(err) != runtime.ReasonNotRunning {
		t.Errorf("a call after the end answered %v", err)
	}
}

// testCallInterrupted: the deadline of a call ends it, and nothing else.
func testCallInterrupted(t *testing.T, s *suite) {
	c := s.caller(t)
	task, _ := s.run(t, Functions, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, task.ID, runtime.Call{Function: "wait"})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the interrupted call answered %v", err)
		}
	case <-time.After(patience): //nolint:forbidigo // of a test
		t.Fatal("the call goes on after its deadline")
	}
	if got, err := s.call(t, task.ID, runtime.Call{Function: "echo", Data: []byte("still here")}); err != nil || string(got.Data) != "still here" {
		t.Errorf("the next call answered %q, %v", got.Data, err)
	}
}

func testCalls(t *testing.T, s *suite) {
	s.caller(t)
	task, _ := s.run(t, Functions, "a")
	var wg sync.WaitGroup
	for n := range 64 {
		wg.Go(func() {
			want := fmt.Sprint("call ", n)
			got, err := s.call(t, task.ID, runtime.Call{Function: "echo", Data: []byte(want)})
			if err != nil || string(got.Data) != want {
				t.Errorf("%s answered %q, %v", want, got.Data, err)
			}
		})
	}
	wg.Wait()
}

func reason(err error) string {
	if e, ok := errors.AsType[*runtime.Error](err); ok {
		return e.Reason
	}
	return ""
}
