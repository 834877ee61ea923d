package fair

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel holds the queue against a slow model of it: it never loses or
// doubles anyone, and Next is the one with the least virtual time, the first
// that came among equals.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue
		var all, waiting, running []*One
		without := func(in []*One, o *One) []*One {
			return slices.DeleteFunc(slices.Clone(in), func(x *One) bool { return x == o })
		}
		t.Repeat(map[string]func(*rapid.T){
			"come": func(t *rapid.T) {
				o := &One{Weight: rapid.Uint32Range(1, 10000).Draw(t, "weight")}
				all = append(all, o)
				if rapid.Bool().Draw(t, "run") {
					q.Run(o)
					running = append(running, o)
				} else {
					q.Wait(o)
					waiting = append(waiting, o)
				}
			},
			"back": func(t *rapid.T) {
				for _, o := range all {
					if !slices.Contains(waiting, o) && !slices.Contains(running, o) {
						q.Wait(o)
						waiting = append(waiting, o)
						return
					}
				}
			},
			"next": func(t *rapid.T) {
				var want *One
				for _, o := range waiting {
					if want == nil || o.virtual < want.virtual || o.virtual == want.virtual && o.since < want.since {
						want = o
					}
				}
				if got := q.Next(); got != want {
					t.Fatalf("got %+v, want %+v", got, want)
				}
				if want != nil {
					waiting, running = without(waiting, want), append(running, want)
				}
			},
			"charge": func(t *rapid.T) {
				if len(running) > 0 {
					o := rapid.SampledFrom(running).Draw(t, "who")
					q.Charge(o, time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "used")))
				}
			},
			"leave": func(t *rapid.T) {
				if len(all) == 0 {
					return
				}
				o := rapid.SampledFrom(all).Draw(t, "who")
				if in := slices.Contains(waiting, o) || slices.Contains(running, o); q.Leave(o) != in {
					t.Fatalf("leaving tells %v", !in)
				}
				waiting, running = without(waiting, o), without(running, o)
			},
			"": func(t *rapid.T) {
				if q.Waiting() != len(waiting) || len(q.Running()) != len(running) {
					t.Fatalf("%d wait and %d run, want %d and %d", q.Waiting(), len(q.Running()), len(waiting), len(running))
				}
				for n, o := range q.running {
					if o.place != n+1 || !slices.Contains(running, o) {
						t.Fatalf("place %d of %+v", n, o)
					}
				}
				for n, o := range q.waiting {
					if o.place != n+1 || !slices.Contains(waiting, o) {
						t.Fatalf("place %d of %+v", n, o)
					}
				}
			},
		})
	})
}

// compute lets those that wait compute in turn on some cores, in slices, and
// returns what each used.
func compute(q *Queue, cores int, ones []*One, slice, long time.Duration) map[*One]time.Duration {
	used := map[*One]time.Duration{}
	for _, o := range ones {
		q.Wait(o)
	}
	for len(q.Running()) < cores && q.Next() != nil {
	}
	for at := time.Duration(0); at < long; at += slice {
		for _, o := range slices.Clone(q.Running()) {
			used[o] += slice
			q.Charge(o, slice)
			if q.Before(o) {
				q.Leave(o)
				q.Wait(o)
				q.Next()
			}
		}
	}
	return used
}

// TestShares: those that always want to compute get it in the proportion of
// their weights, but for a few slices.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const slice, long = 100 * time.Microsecond, time.Second
		var ones []*One
		var sum uint32
		for _, w := range rapid.SliceOfN(rapid.Uint32Range(20, 500), 2, 20).Draw(t, "weights") {
			ones = append(ones, &One{Weight: w})
			sum += w
		}
		used := compute(&Queue{}, 1, ones, slice, long)
		for _, o := range ones {
			want := long * time.Duration(o.Weight) / time.Duration(sum)
			if off := (used[o] - want).Abs(); off > 20*slice {
				t.Errorf("weight %d of %d used %v, want %v", o.Weight, sum, used[o], want)
			}
		}
	})
}

// TestManyCores: with more cores than those that compute, each has its own;
// equals share evenly.
func TestManyCores(t *testing.T) {
	ones := []*One{{Weight: 100}, {Weight: 100}, {Weight: 100}}
	used := compute(&Queue{}, 2, ones, 100*time.Microsecond, 300*time.Millisecond)
	for _, o := range ones {
		if off := (used[o] - 200*time.Millisecond).Abs(); off > time.Millisecond {
			t.Errorf("used %v of 600 ms", used[o])
		}
	}
}

// TestNothingForAbsence: who was away cannot make up for it, and who computed
// while nobody waited does not pay for it.
func TestNothingForAbsence(t *testing.T) {
	const slice = 100 * time.Microsecond
	var q Queue
	long, late := &One{Weight: 1}, &One{Weight: 100}
	q.Run(long)
	for range 36_000 { // an hour of virtual time and more
		q.Charge(long, 100*time.Millisecond)
	}
	q.Leave(long)
	used := compute(&q, 1, []*One{long, late}, slice, 10*time.Second)
	if got := used[long]; got < 70*time.Millisecond || got > 130*time.Millisecond {
		t.Errorf("weight 1 beside 100 used %v of 10 s", got)
	}

	q = Queue{}
	low, high := &One{Weight: 1}, &One{Weight: 100}
	q.Run(low)
	q.Run(high)
	for range 1000 {
		q.Charge(low, time.Millisecond)
		q.Charge(high, time.Millisecond)
	}
	late = &One{Weight: 100}
	q.Wait(late)
	if d := low.virtual - high.virtual; d > ahead {
		t.Errorf("who used what nobody wanted is %v behind", d)
	}
	if d := high.virtual - late.virtual; d > credit || d < 0 {
		t.Errorf("who comes late is %v before the others", d)
	}
}

// TestShortWorkFirst: who comes with short work waits for one slice at most,
// however many compute on and on.
func TestShortWorkFirst(t *testing.T) {
	var q Queue
	var ones []*One
	for range 64 {
		ones = append(ones, &One{Weight: 100})
	}
	compute(&q, 2, ones, 100*time.Microsecond, time.Second)
	short := &One{Weight: 100}
	if !q.Early(short) {
		t.Error("it is not early")
	}
	q.Charge(short, credit)
	if q.Early(short) {
		t.Error("it is early still")
	}
	short = &One{Weight: 100}
	q.Wait(short)
	if got := q.Next(); got != short {
		t.Error("another goes first")
	}
}

// TestQuota: over any long time the use is the rate's, but for a burst and a
// slice, whenever it is looked at.
func TestQuota(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Uint32Range(1, 4000).Draw(t, "rate")
		slice := time.Duration(rapid.Int64Range(int64(50*time.Microsecond), int64(time.Millisecond)).Draw(t, "slice"))
		late := time.Duration(rapid.Int64Range(0, int64(5*time.Millisecond)).Draw(t, "late"))
		var b Bucket
		var now, used time.Duration
		b.Set(rate, now)
		const long = 5 * time.Second
		for now < long {
			if w := b.Wait(now); w > 0 {
				now += w + late // timers are late
				continue
			}
			now += slice
			used += slice
			b.Take(now, slice)
		}
		allowed := now * time.Duration(rate) / whole
		if used > allowed+capacity(rate)+slice {
			t.Errorf("used %v, allowed are %v", used, allowed)
		}
		// Unless timers are so late that the bucket runs over, all is used.
		if rate <= whole && capacity(rate) > quantum+late && used < allowed*9/10-quantum {
			t.Errorf("used %v of %v", used, allowed)
		}
	})
}

func TestQuotaChanges(t *testing.T) {
	var b Bucket
	b.Take(0, time.Hour)
	if b.Wait(0) != 0 {
		t.Error("without a limit it waits")
	}
	b.Set(100, 0)
	if b.Wait(0) != 0 {
		t.Error("a full bucket waits")
	}
	b.Take(0, 105*time.Millisecond)
	if got := b.Wait(0); got != 1005*time.Millisecond {
		t.Errorf("100 ms too much at a tenth: waits %v", got)
	}
	b.Set(1000, 0)
	if got := b.Wait(0); got != 100*time.Millisecond+quantum {
		t.Errorf("at a whole core: waits %v", got)
	}
	b.Set(0, 0)
	if b.Wait(0) != 0 {
		t.Error("the limit is gone and it waits")
	}
	b.Set(1, 1<<62)
	if b.Wait(1<<62) != 0 {
		t.Error("a new limit begins empty")
	}
}
