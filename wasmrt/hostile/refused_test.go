package hostile_test

import (
	"errors"
	"testing"
	"time"

	"dhow.dev/dhow/wasmrt"
)

// TestRefused are modules that never come to run: an *Error says why.
func TestRefused(t *testing.T) {
	for kind, o := range engines() {
		t.Run(kind, func(t *testing.T) {
			e := newEngine(t, o)
			for name, reason := range map[string]string{
				"start-is-a-global":      wasmrt.ReasonNoStart,
				"start-with-parameters":  wasmrt.ReasonNoStart,
				"init-with-result":       wasmrt.ReasonNoStart,
				"data-outside":           wasmrt.ReasonBadConfig,
				"memory-is-a-function":   wasmrt.ReasonNoMemory,
				"import-with-wrong-type": wasmrt.ReasonUnknownImport,
				"import-unknown":         wasmrt.ReasonUnknownImport,
				"import-our-memory":      wasmrt.ReasonUnknownImport,
				"import-our-refill":      wasmrt.ReasonUnknownImport,
				"export-our-fuel":        wasmrt.ReasonReserved,
				"export-our-depth":       wasmrt.ReasonReserved,
			} {
				t.Run(name, func(t *testing.T) {
					_, err := runOnce(t, e, name)
					if refused := (*wasmrt.Error)(nil); !errors.As(err, &refused) {
						t.Errorf("it was not refused: %v", err)
					} else if refused.Reason != reason || !refused.Permanent() {
						t.Errorf("it was refused by %s: %v; want %s", refused.Reason, err, reason)
					}
				})
			}
		})
	}
}

// TestFailsAtOnce are modules whose instances fail before they are of use.
func TestFailsAtOnce(t *testing.T) {
	for kind, o := range engines() {
		t.Run(kind, func(t *testing.T) {
			e := newEngine(t, o)
			for name, reason := range map[string]string{
				"init-loop": wasmrt.TimedOutReason, "init-trap": wasmrt.TrappedReason, "init-deep": wasmrt.StackReason,
				"start-loop": wasmrt.TimedOutReason, "start-trap": wasmrt.TrappedReason,
			} {
				t.Run(name, func(t *testing.T) {
					m := compile(t, e, name)
					limits := wasmrt.Limits{Timeout: endless}
					if reason == wasmrt.StackReason {
						limits.Timeout = time.Minute
					}
					i, err := m.New(t.Context(), wasmrt.Config{Limits: limits})
					if ended := (*wasmrt.ExitError)(nil); !errors.As(err, &ended) || i != nil {
						t.Errorf("New gave %v, %v", i, err)
					} else if ended.Exit.Reason != reason {
						t.Errorf("it ended: %s, %v; want %s", ended.Exit.Reason, err, reason)
					}
					if n := e.Running(); n != 0 {
						t.Errorf("%d instances run", n)
					}
				})
			}
		})
	}
}

func runOnce(t *testing.T, e *wasmrt.Engine, name string) (wasmrt.Exit, error) {
	t.Helper()
	m, err := e.Compile(t.Context(), module(t, name))
	if err != nil {
		return wasmrt.Exit{}, err
	}
	defer m.Close()
	return m.Run(t.Context(), wasmrt.Config{Limits: wasmrt.Limits{Timeout: endless}})
}
