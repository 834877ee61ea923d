package sim

import "time"

// faults go wrong now and then.
func (w *world) faults() {
	if w.calm {
		return
	}
	w.after(w.between(100*time.Millisecond, 3*time.Second), w.faults)
	switch w.rng.IntN(8) {
	case 0, 1:
		s := w.servers[w.rng.IntN(len(w.servers))]
		if s.up {
			s.crash()
			w.after(w.between(100*time.Millisecond, 5*time.Second), func() {
				if !s.up {
					s.start()
				}
			})
		}
	case 2, 3:
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		if n.up {
			n.stop(w.one(2))
			w.after(w.between(50*time.Millisecond, 10*time.Second), func() {
				if !n.up {
					n.start()
				}
			})
		}
	case 4:
		w.partition()
	case 5:
		all := w.machines()
		a, b := all[w.rng.IntN(len(all))], all[w.rng.IntN(len(all))]
		if a != b {
			w.logf("network: %s and %s cannot talk", a, b)
			w.net[link(a, b)] = true
		}
	default:
		w.healNetwork()
	}
}
