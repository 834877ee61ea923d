package api_test

import (
	"context"
	"testing"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// BenchmarkCall is a call through server and session, answered by a node that
// does nothing: one after the other, and 64 at once; with the answer in the
// session, and, to compare, in a stream of its own.
func BenchmarkCall(b *testing.B) {
	var n *node
	stream := func(a *dhowv1.Ask) *dhowv1.AnswerRequest {
		out, err := n.c.Agents.Answer(context.Background())
		if err != nil {
			panic(err)
		}
		m := result("")
		m.Id = a.GetId()
		_ = out.Send(m)
		_, _ = out.CloseAndReceive()
		return nil
	}
	session := func(*dhowv1.Ask) *dhowv1.AnswerRequest { return result("") }
	for name, answer := range map[string]func(a *dhowv1.Ask) *dhowv1.AnswerRequest{"session": session, "stream": stream} {
		var w *world
		w, n = called(b, answer)
		benchmarkCall(b, name, w, n)
	}
}

func benchmarkCall(b *testing.B, name string, w *world, n *node) {
	b.Helper()
	beats := time.NewTicker(time.Second)
	defer beats.Stop()
	go func() {
		for range beats.C {
			n.beat()
		}
	}()
	cl := w.as(w.admin)
	req := &dhowv1.CallRequest{Call: &dhowv1.FunctionCall{Ref: refTo("fn"), Data: make([]byte, 1<<10)}}
	one := func() {
		if _, err := cl.Functions.Call(context.Background(), req); err != nil {
			panic(err) // once, not each of thousands
		}
	}
	one()
	b.Run(name+"/one", func(b *testing.B) {
		for b.Loop() {
			one()
		}
	})
	b.Run(name+"/many", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}
