package members

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"dhow.dev/dhow/internal/gossip"
)

func TestDead(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	// One server per word: state and seconds since; n for a non-voter.
	peers := func(s string) []Observed {
		var out []Observed
		for i, w := range strings.Fields(s) {
			o := Observed{Peer: Peer{Name: string(rune('a' + i)), Voter: !strings.HasPrefix(w, "n")}}
			w = strings.TrimPrefix(w, "n")
			d, err := time.ParseDuration(w[1:] + "s")
			if err != nil {
				t.Fatal(err)
			}
			o.Since = now.Add(-d)
			o.State = map[byte]Liveness{'+': Alive, '-': Failed, 'l': Left, '?': Unknown}[w[0]]
			out = append(out, o)
		}
		return out
	}
	for _, c := range []struct{ why, peers, want string }{
		{"the last server", "-3600", ""},
		{"all are well", "+99 +99 +99", ""},
		{"one of three, no replacement", "+99 +99 -3600", ""},
		{"replacement is here", "+99 +99 -60 +10", "c"},
		{"replacement has not settled", "+99 +99 -60 +9", ""},
		{"not dead for long enough", "+99 +99 -59 +99", ""},
		{"left counts as dead", "+99 +99 l60 +99", "c"},
		{"unknown is not dead", "+99 +99 ?3600 +99", ""},
		{"no majority of two", "+99 -3600", ""},
		{"no majority of four", "+99 +99 -3600 -3600", ""},
		{"one of five: nothing gained", "+99 +99 +99 +99 -3600", ""},
		{"two of six: longest dead first", "+99 +99 +99 +99 -100 -200", "f"},
		{"two of six: names decide a tie", "+99 +99 +99 +99 -100 -100", "e"},
		{"two of five: first replacement", "+99 +99 +99 -100 -90 +20", "d"},
		{"dead non-voter", "+99 n-60", "b"},
		{"dead non-voter without a majority", "+99 n-60 -60", ""},
		{"living non-voter is no replacement", "+99 +99 -60 n+99", ""},
		{"a stand-in that died too", "+99 +99 -70 -65", ""},
	} {
		if got := Dead("a", peers(c.peers), now); got != c.want {
			t.Errorf("%s: %s: removed %q, want %q", c.why, c.peers, got, c.want)
		}
	}
}

// Whatever the cluster looks like: what is removed is dead, a majority of what
// stays is alive, and more servers may die than before.
func TestDeadKeepsAMajority(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var peers []Observed
		alive := map[string]bool{}
		voters, living := 0, 0
		for i := range rapid.IntRange(1, 9).Draw(t, "servers") {
			o := Observed{
				Peer:  Peer{Name: string(rune('a' + i)), Voter: i == 0 || rapid.Bool().Draw(t, "voter")},
				State: Liveness(rapid.IntRange(0, 3).Draw(t, "state")),
				Since: now.Add(-time.Duration(rapid.IntRange(0, 120).Draw(t, "since")) * time.Second),
			}
			alive[o.Name] = i == 0 || o.State == Alive
			if o.Voter {
				voters++
				if alive[o.Name] {
					living++
				}
			}
			peers = append(peers, o)
		}
		name := Dead("a", peers, now)
		if name == "" {
			return
		}
		if alive[name] {
			t.Fatalf("removed %s, which is alive", name)
		}
		for _, p := range peers {
			if p.Name == name && p.Voter {
				voters--
			}
		}
		if voters < 1 || living < voters/2+1 {
			t.Fatalf("%d of %d alive after the removal of %s", living, voters, name)
		}
	})
}

type fakeReplica struct {
	mu      sync.Mutex
	peers   []Peer
	removed []string
}

func (r *fakeReplica) Peers() []Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Peer(nil), r.peers...)
}

func (r *fakeReplica) RemoveServer(_ context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed = append(r.removed, name)
	for i, p := range r.peers {
		if p.Name == name {
			r.peers = append(r.peers[:i:i], r.peers[i+1:]...)
			break
		}
	}
	return nil
}

func (r *fakeReplica) gone() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.removed, " ")
}

func TestCleanupRemovesWhatWasReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		source.set(server("a", gossip.Alive), server("b", gossip.Alive), server("c", gossip.Alive))
		m := New(source, slog.New(slog.DiscardHandler))
		r := &fakeReplica{peers: []Peer{{"a", true}, {"b", true}, {"c", true}}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		c := &Cleanup{Self: "a", Members: m, Replica: r, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
		wg.Go(func() { _ = m.Run(ctx) })
		wg.Go(func() { _ = c.Run(ctx) })
		synctest.Wait()

		source.set(server("a", gossip.Alive), server("b", gossip.Alive), server("c", gossip.Failed))
		time.Sleep(time.Hour)
		synctest.Wait()
		if r.gone() != "" {
			t.Fatalf("removed %s, with no replacement", r.gone())
		}
		r.mu.Lock()
		r.peers = append(r.peers, Peer{"d", true})
		r.mu.Unlock()
		source.set(server("a", gossip.Alive), server("b", gossip.Alive), server("c", gossip.Failed), server("d", gossip.Alive))
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.gone() != "c" {
			t.Fatalf("removed %q, want c", r.gone())
		}
		// Flapping never adds up to a minute.
		for range 10 {
			source.set(server("a", gossip.Alive), server("b", gossip.Failed), server("d", gossip.Alive))
			time.Sleep(40 * time.Second)
			source.set(server("a", gossip.Alive), server("b", gossip.Alive), server("d", gossip.Alive))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if r.gone() != "c" {
			t.Fatalf("removed %q, want c only", r.gone())
		}
	})
}
